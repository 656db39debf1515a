// npm test: installs what it needs, a browser too, then checks everything. `npm test -- unit kernels` runs those stages.
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { installBrowser, installPackages, requireNode, root } from "./install.mjs";

const reports = join(root, "test-results");
const totals = { passed: 0, failed: 0 };

/**
 * @param {string} bin  a file under node_modules, run by this Node
 * @param {string[]} args
 */
function run(bin, ...args) {
  return spawnSync(process.execPath, [join(root, "node_modules", bin), ...args], {
    cwd: root,
    stdio: "inherit",
  }).status;
}

/** A stage that counts as one failure if it fails, and has no tests to count otherwise. */
const check =
  (/** @type {string} */ bin, /** @type {string[]} */ ...args) =>
  () => {
    if (run(bin, ...args) !== 0) totals.failed++;
  };

const tests = (/** @type {string} */ project) => () => {
  const report = join(reports, `${project}.json`);
  rmSync(report, { force: true });
  const status = run(
    "vitest/vitest.mjs",
    "run",
    `--project=${project}`,
    "--allowOnly=false",
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${report}`,
  );
  const { passed, failed } = counts(report);
  totals.passed += passed;
  // A file that does not load, or a run that dies, fails without a failed test.
  totals.failed += status !== 0 ? Math.max(1, failed) : failed;
};

/** @param {string} report */
function counts(report) {
  try {
    const { numPassedTests, numFailedTests, numPendingTests, numTodoTests } = JSON.parse(
      readFileSync(report, "utf8"),
    );
    if (numPendingTests + numTodoTests > 0)
      console.log(`${numPendingTests + numTodoTests} tests did not run.`);
    return { passed: numPassedTests, failed: numFailedTests };
  } catch {
    return { passed: 0, failed: 0 };
  }
}

/** In order: what is quick to fail comes first, and the pages need the build. */
const stages = {
  lint: check("@biomejs/biome/bin/biome", "ci", "--error-on-warnings"),
  types: check("typescript/bin/tsc", "--noEmit", "-p", "."),
  unit: tests("unit"),
  build: check("vite/bin/vite.js", "build", "--logLevel", "warn"),
  kernels: tests("kernels"),
  e2e: tests("e2e"),
};

/**
 * @param {string} name
 * @param {() => void} work
 */
function timed(name, work) {
  console.log(`\n── ${name}`);
  const start = performance.now();
  const before = totals.failed;
  let finished = false;
  try {
    work();
    finished = true;
  } finally {
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    summary.push(`${name} ${seconds} s${finished && totals.failed === before ? "" : " FAILED"}`);
  }
}

/** @type {string[]} */
const summary = [];
const start = performance.now();
try {
  const wanted = process.argv.slice(2);
  const unknown = wanted.find((name) => !(name in stages));
  if (unknown) throw new Error(`There is no stage "${unknown}". Stages: ${Object.keys(stages).join(", ")}.`);
  mkdirSync(reports, { recursive: true });
  timed("install", () => {
    requireNode();
    installPackages();
    console.log(`Browser: ${installBrowser()}`);
  });
  for (const [name, work] of Object.entries(stages)) {
    if (wanted.length === 0 || wanted.includes(name)) timed(name, work);
  }
} catch (error) {
  totals.failed++;
  console.error(`error: ${error instanceof Error ? error.message : error}`);
}
console.log(`\n${summary.join(", ")}; ${((performance.now() - start) / 1000).toFixed(1)} s in all`);
console.log(`${totals.passed} passed, ${totals.failed} failed`);
process.exitCode = totals.failed > 0 ? 1 : 0;
