// npm run test:templates [-- --write]: published chat templates against Transformers. The templates are fetched from
// PyPI into .cache/templates the first time. Python is GRAFT_PYTHON, or that of .cache/oracle, or python3; it needs
// the packages of reference/requirements.txt.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { root } from "./install.mjs";

const oracle = join(root, ".cache/oracle/bin/python");
const python = process.env.GRAFT_PYTHON ?? (existsSync(oracle) ? oracle : "python3");
const folder = join(root, ".cache/templates");

/**
 * @param {string} program
 * @param {string[]} args
 */
function run(program, ...args) {
  const { status, error } = spawnSync(program, args, { cwd: root, stdio: "inherit" });
  if (error) console.error(`error: ${program} cannot be started: ${error.message}`);
  return status === 0;
}

const passed =
  run(python, join(root, "reference/published_templates.py"), folder) &&
  run(
    process.execPath,
    join(root, "scripts/run.mjs"),
    "test/templates/run.ts",
    folder,
    ...process.argv.slice(2),
  );
process.exitCode = passed ? 0 : 1;
