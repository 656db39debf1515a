// npm run test:parity: every run of reference/dumps against PEFT, where npm test takes the core alone.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { root } from "./install.mjs";

const { status } = spawnSync(
  process.execPath,
  [join(root, "node_modules/vitest/vitest.mjs"), "run", "--project=kernels", "test/train/parity.gpu.test.ts"],
  { cwd: root, stdio: "inherit", env: { ...process.env, GRAFT_PARITY: "all" } },
);
process.exitCode = status ?? 1;
