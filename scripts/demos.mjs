// npm run test:demos [-- ID…]: every bundled data set, trained in the page to its goal. Takes minutes each on a
// software GPU. The adapters lie in out/demos afterwards, for reference/demos/check.py to score with PEFT.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { root } from "./install.mjs";

const { status } = spawnSync(
  process.execPath,
  [join(root, "node_modules/vitest/vitest.mjs"), "run", "--project=demos"],
  { cwd: root, stdio: "inherit", env: { ...process.env, GRAFT_DEMOS: process.argv.slice(2).join(" ") } },
);
process.exitCode = status ?? 1;
