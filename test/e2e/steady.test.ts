/** What a step asks of the device once a run is going, written down in Chromium's worker. */
import { readFileSync } from "node:fs";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { launchBrowser } from "../../scripts/browser.mjs";
import { fileSource, openDirectory } from "../../src/cli/files.ts";
import { optimizerSteps } from "../../src/data/steps.ts";
import { loadTokenizer } from "../../src/data/tokenizer.ts";
import { parseRunFile } from "../../src/train/runFile.ts";
import { parseRows } from "../data/parseRows.ts";
import { tokenizeRows } from "../data/tokenizeRows.ts";
import { CREATIONS, type DeviceCall, logDeviceCalls, makeEverything, readDeviceCalls } from "./deviceLog.ts";
import { changedRun, filesOf, TrainPage } from "./trainPage.ts";

// Rows of 2 to 64 tokens; eight micro-batches an epoch, so that every third step accumulates two instead of three.
const files = { ...filesOf("gpt2_gelu"), data: "reference/dumps/data/mixed.jsonl" };
const changed = changedRun(files.run, {
  per_device_train_batch_size: 2,
  gradient_accumulation_steps: 3,
  max_steps: 9,
});

interface MicroBatch {
  readonly tokens: number;
  readonly targets: number;
}

let browser: Browser;
/** By step, what its micro-batches hold. */
let wanted: MicroBatch[][];
let calls: DeviceCall[];
let preparing: DeviceCall[];
/** Of the steps behind the first, which is looked at once it is taken. */
let running: DeviceCall[];
/** Of what the test made itself, behind the run. */
let after: DeviceCall[];
/** Of `running`: from the first call of a step to its mapAsync. */
let steps: DeviceCall[][];

beforeAll(async () => {
  wanted = await microBatches();
  browser = await launchBrowser();
  const session = await TrainPage.open(browser);
  const worker = await session.worker;
  await logDeviceCalls(worker);
  await session.choose({ ...files, run: changed.path });
  await session.train();
  await session.says("Done: all 9 steps.");
  // The adapter has been read back: nothing of the page's comes after it.
  await session.page.locator("button:enabled", { hasText: "Download adapter" }).waitFor();
  calls = await readDeviceCalls(worker);
  const prepared = calls.findIndex(({ name }) => name === "prepared");
  preparing = calls.slice(0, prepared);
  running = fromSecondStep(untilLastStep(calls.slice(prepared + 1)));
  steps = stepsOf(running);
  const before = (await readDeviceCalls(worker)).length;
  await makeEverything(worker);
  after = (await readDeviceCalls(worker)).slice(before);
});
afterAll(async () => {
  changed.remove();
  await browser?.close();
});

async function microBatches(): Promise<MicroBatch[][]> {
  const run = parseRunFile(JSON.parse(readFileSync(changed.path, "utf8")), "run.json");
  const { rows } = await parseRows(await fileSource(files.data), { format: "jsonl" });
  const tokenizer = await loadTokenizer(await openDirectory(files.model));
  const { eosToken } = tokenizer;
  const options = { eosToken, maxLength: run.train.max_length, vocabSize: Number.POSITIVE_INFINITY };
  const tokenised = await tokenizeRows(rows, tokenizer, options);
  return [...optimizerSteps(tokenised.rows, run.train)].map((step) =>
    step.microBatches.map((batch) => {
      // All but each row's last, which predicts nothing, and as many targets.
      const tokens = batch.reduce((sum, { ids }) => sum + ids.length - 1, 0);
      return { tokens, targets: tokens };
    }),
  );
}

/** Behind the last step's scalars the adapter is read back, and the first thing that this does is make a buffer. */
function untilLastStep(log: readonly DeviceCall[]): DeviceCall[] {
  const last = startsOf(log).at(-1)!;
  const end = log.findIndex(({ name }, i) => i > last && name === "createBuffer");
  expect(end).toBeGreaterThan(0);
  return log.slice(0, end);
}

/** Between the first step and the second the audit reads back what has moved. */
function fromSecondStep(log: readonly DeviceCall[]): DeviceCall[] {
  const starts = startsOf(log);
  expect(starts).toHaveLength(wanted.length);
  return log.slice(starts[1]);
}

/** A step begins by writing what its losses are scaled by. */
function startsOf(log: readonly DeviceCall[]): number[] {
  return log.flatMap(({ label }, i) => (label === "loss scale" ? [i] : []));
}

/** A step ends where it asks for its scalars. */
function stepsOf(log: readonly DeviceCall[]): DeviceCall[][] {
  const found: DeviceCall[][] = [[]];
  for (const call of log) {
    found.at(-1)!.push(call);
    if (call.name === "mapAsync") found.push([]);
  }
  // After the last step: its scalars come back.
  expect(found.pop()!.every(({ name }) => name === "mapped")).toBe(true);
  return found;
}

const count = (log: readonly DeviceCall[], name: string) => log.filter((call) => call.name === name).length;
const uploads = (log: readonly DeviceCall[]) => log.filter(({ name }) => name === "writeBuffer");

it("hears of all that is made: the run's own before the first step, and one of each made for this test", () => {
  for (const name of [
    "createBuffer",
    "createBindGroup",
    "createShaderModule",
    "createComputePipelineAsync",
  ]) {
    expect(count(preparing, name), name).toBeGreaterThan(0);
  }
  expect(count(preparing, "writeBuffer")).toBeGreaterThan(0);
  for (const name of CREATIONS) expect(count(after, name), name).toBe(1);
});

it("makes nothing from the second step on", () => {
  for (const name of CREATIONS) expect(count(running, name), name).toBe(0);
});

it("submits once for each micro-batch, though rows are of many lengths", () => {
  expect(wanted.map((batches) => batches.length)).toEqual([3, 3, 2, 3, 3, 2, 3, 3, 2]);
  expect(new Set(wanted.flat().map(({ tokens }) => tokens)).size).toBeGreaterThan(5);
  expect(steps.map((step) => count(step, "submit"))).toEqual(
    wanted.slice(1).map((batches) => batches.length),
  );
});

it("asks once a step for its scalars, and begins no step before those of two steps before have come", () => {
  expect(steps).toHaveLength(8);
  let mapped = 0;
  let furthestAhead = 0;
  steps.forEach((step, i) => {
    expect(count(step, "mapAsync")).toBe(1);
    for (const { name } of step) {
      if (name === "mapped") mapped++;
      else furthestAhead = Math.max(furthestAhead, i + 1 - mapped);
    }
  });
  expect(furthestAhead).toBe(2);
});

it("uploads the inputs of its micro-batches and nothing else", () => {
  // Per step: loss scale 4, AdamW's figures 8 × 4 for all and 4 × 4 for its one group, the update's counts 2 × 4.
  const perStep = 4 + 32 + 16 + 8;
  // Per token: id, position and target (4 each), the keys it sees and the queries that see it (8 each).
  // Per target: its token and the id to predict (4 each). Per micro-batch: how many tokens, targets and loss rows.
  const perBatch = ({ tokens, targets }: MicroBatch) => 28 * tokens + 8 * targets + 12;
  const bytes = steps.map((step) => uploads(step).reduce((sum, call) => sum + call.bytes!, 0));
  const inputs = wanted
    .slice(1)
    .map((batches) => batches.reduce((sum, batch) => sum + perBatch(batch), perStep));
  expect(bytes).toEqual(inputs);
  expect([...new Set(uploads(running).map(({ label }) => label))].sort()).toEqual([
    "group hyper",
    "hyper",
    "ids",
    "keys of a query (window undefined)",
    "live",
    "loss scale",
    "positions",
    "queries of a key (window undefined)",
    "target id",
    "target of token",
    "target row",
  ]);
});
