import type { Value } from "../../src/graph/value.ts";
import { add } from "../../src/ops/add.ts";
import { crossEntropy, type Head } from "../../src/ops/crossEntropy.ts";
import { dropout } from "../../src/ops/dropout.ts";
import { linear } from "../../src/ops/linear.ts";
import { SCALAR_COUNT, scalarAt } from "../../src/ops/scalars.ts";
import { stackRows } from "../../src/ops/weight.ts";
import type { KernelBench, Tensor } from "../harness/bench.ts";
import { type KernelCase, kernelSuite, onBothClasses } from "../harness/cases.ts";
import { linearHead } from "../harness/heads.ts";
import { type StoredFormat, storedWeight } from "../harness/weights.ts";
import { backward, certainty, forward } from "../reference/crossentropy.ts";
import { forward as drop, backward as undrop } from "../reference/dropout.ts";

interface Case {
  readonly tokens: number;
  readonly targets: number;
  readonly width: number;
  /** Vocabulary rows of each slice of the head, and how it is stored; "train" is a parameter. */
  readonly head: readonly (readonly [number, StoredFormat | "train"])[];
  /** Rows of a chunk; as many as there may be where absent. */
  readonly chunk?: number;
  /** Targets that the plan is made for. */
  readonly capacity?: number;
  /** Another reader of hidden gives it a gradient first. */
  readonly branch?: boolean;
  readonly hiddenGrad?: boolean;
  /** Typical size of the hidden states' elements: flat rows have no probability that is all but 1. */
  readonly hiddenScale?: number;
}

const LOSS_SCALE = 0.375;
const forwardPasses = ["gather", "row_loss", "total"];
const allPasses = [...forwardPasses, "row_gradient", "collect", "backward_hidden"];
const sum = (values: Float64Array): number => values.reduce((total, value) => total + value, 0);

/** The scalars before a step, and what they are after the losses of these hidden states. */
const scalarsBefore = Float64Array.of(2.5, 91, 92, 1.25, 3);

function checkScalars(
  bench: KernelBench,
  found: ArrayLike<number>,
  before: Float64Array,
  hidden: readonly Float64Array[],
  head: Float64Array,
  targets: Parameters<typeof certainty>[2],
): void {
  const wanted = before.slice();
  for (const values of hidden) {
    const { entropy, right } = certainty(values, head, targets);
    wanted[scalarAt.lossSum]! += sum(forward(values, head, targets));
    wanted[scalarAt.entropySum]! += sum(entropy);
    wanted[scalarAt.rightSum]! += sum(right);
  }
  for (const [name, at] of Object.entries(scalarAt))
    bench.compare(name, [found[at]!], [wanted[at]!], name.endsWith("Sum") ? 2e-6 : 0);
}

/** Targets in an order of their own, each predicted by a token of its own. */
function randomTargets(bench: KernelBench, tokens: number, targets: number, vocabulary: number) {
  const order = Array.from({ length: tokens }, (_, token) => ({ token, key: bench.uniform() }));
  order.sort((a, b) => a.key - b.key);
  const targetRow = Uint32Array.from(order.slice(0, targets), ({ token }) => token);
  const targetOfToken = new Int32Array(tokens).fill(-1);
  targetRow.forEach((token, target) => {
    targetOfToken[token] = target;
  });
  return { targetRow, targetOfToken, targetId: bench.integers(targets, vocabulary) };
}

function randomHead(bench: KernelBench, head: Case["head"], width: number) {
  const constants: Record<string, Tensor> = {};
  const parameters: Record<string, Tensor> = {};
  const values = head.flatMap(([rows, format], i) => {
    const stored = storedWeight(bench, format === "train" ? "f32" : format, [rows, width]);
    (format === "train" ? parameters : constants)[`head ${i}`] = stored.tensor;
    return [...stored.values];
  });
  return { constants, parameters, values: Float64Array.from(values) };
}

function operandsIn(values: Readonly<Record<string, Value>>) {
  return {
    targetRow: values.targetRow!,
    targetId: values.targetId!,
    targetOfToken: values.targetOfToken!,
    lossScale: values.lossScale!,
    scalars: values.scalars!,
  };
}

/** Two micro-batches of one step: the same targets from two hidden states, added into the same places. */
async function check(bench: KernelBench, test: Case): Promise<void> {
  const { tokens, targets, width, chunk, branch, hiddenGrad = true, hiddenScale } = test;
  const vocabulary = test.head.reduce((total, [rows]) => total + rows, 0);
  const index = randomTargets(bench, tokens, targets, vocabulary);
  const head = randomHead(bench, test.head, width);
  // A sum over so long an axis may be off by 1e-4.
  const long = vocabulary > 10_000;
  const hidden = [0, 1].map(() => bench.normal(tokens * width, hiddenScale));
  const other = bench.normal(tokens * width);
  const tensor = (values: Float64Array): Tensor => ({ shape: ["tokens", width], values, grad: hiddenGrad });
  const result = await bench.run({
    counts: { tokens, targets },
    capacity: test.capacity === undefined ? {} : { targets: test.capacity },
    inputs: {
      first: tensor(hidden[0]!),
      second: tensor(hidden[1]!),
      targetRow: { shape: ["targets"], values: index.targetRow },
      targetId: { shape: ["targets"], values: index.targetId },
      targetOfToken: { shape: ["tokens"], values: index.targetOfToken },
      lossScale: { shape: [1], values: Float64Array.of(LOSS_SCALE) },
    },
    constants: head.constants,
    parameters: head.parameters,
    states: { scalars: { shape: [SCALAR_COUNT], values: scalarsBefore } },
    trace: (graph, values) => {
      const weight = stackRows(
        "head",
        test.head.map((_, i) => values[`head ${i}`]!),
      );
      const chunkBytes = chunk === undefined ? undefined : 4 * vocabulary * chunk;
      const options = { ...operandsIn(values), withGradient: true, chunkBytes };
      const loss1 = crossEntropy(graph, values.first!, linearHead(graph, weight), options);
      const loss2 = crossEntropy(graph, values.second!, linearHead(graph, weight), options);
      // Recorded after the loss, so that its gradient is there when the loss gives its own.
      return branch ? { loss1, loss2, sum: add(graph, values.first!, values.second!) } : { loss1, loss2 };
    },
    seeds: branch ? { sum: other } : null,
  });

  const oracle = { width, ...index };
  const expected = hidden.map((values) => backward(values, head.values, oracle, LOSS_SCALE));
  const losses = hidden.map((values) => sum(forward(values, head.values, oracle)));
  if (targets > 0) {
    bench.compare("loss of the first", result.output("loss1"), [losses[0]!], 1e-6);
    bench.compare("loss of the second", result.output("loss2"), [losses[1]!], 1e-6);
  } else if (result.output("loss1")[0] !== 0) throw new Error("the loss of no targets is not 0");
  checkScalars(bench, result.state("scalars"), scalarsBefore, hidden, head.values, oracle);
  ["first", "second"].forEach((name, i) => {
    if (!hiddenGrad) return;
    const wanted = expected[i]!.dhidden.map((d, at) => (branch ? d + other[at]! : d));
    bench.compare(`d ${name}`, result.gradient(name), wanted, long ? 1e-4 : 1e-5);
  });
  let row = 0;
  test.head.forEach(([rows, format], i) => {
    const part = (values: Float64Array) => values.subarray(row * width, (row + rows) * width);
    if (format === "train") {
      const second = part(expected[1]!.dhead);
      const wanted = part(expected[0]!.dhead).map((d, at) => d + second[at]!);
      const found = result.gradient(`head ${i}`);
      if (targets > 0) bench.compare(`d head ${i}`, found, wanted);
      else if (found.some((d) => d !== 0)) throw new Error("no targets changed the head's gradient");
    }
    row += rows;
  });
}

/** A head that drops what goes in: masks go by rows of the step and positions, wherever a chunk holds them. */
async function checkDropped(bench: KernelBench): Promise<void> {
  const [tokens, targets, width, vocabulary, chunk] = [70, 41, 12, 30, 7];
  const index = randomTargets(bench, tokens, targets, vocabulary);
  const head = bench.normal(vocabulary * width);
  const hidden = bench.normal(tokens * width);
  const rowInStep = bench.integers(tokens, 9);
  const positions = bench.integers(tokens, 2000);
  const draw = { p: 0.4, seed: 77, step: 5, module: 3, rowInStep, positions };
  const result = await bench.run({
    counts: { tokens, targets },
    inputs: {
      hidden: { shape: ["tokens", width], values: hidden, grad: true },
      targetRow: { shape: ["targets"], values: index.targetRow },
      targetId: { shape: ["targets"], values: index.targetId },
      targetOfToken: { shape: ["tokens"], values: index.targetOfToken },
      lossScale: { shape: [1], values: Float64Array.of(LOSS_SCALE) },
      rowInStep: { shape: ["tokens"], values: rowInStep },
      positions: { shape: ["tokens"], values: positions },
      seedStep: { shape: [2], values: Uint32Array.of(draw.seed, draw.step) },
    },
    parameters: { head: { shape: [vocabulary, width], values: head } },
    states: { scalars: { shape: [SCALAR_COUNT], values: scalarsBefore } },
    trace: (graph, values) => {
      const weight = stackRows("head", [values.head!]);
      const dropping: Head = {
        vocabulary,
        logits: (rows, pick) => {
          const seen = { rowInStep: pick!(values.rowInStep!), positions: pick!(values.positions!) };
          const options = { p: draw.p, module: draw.module, seedStep: values.seedStep!, ...seen };
          return linear(graph, dropout(graph, rows, options), weight);
        },
      };
      const options = { ...operandsIn(values), withGradient: true, chunkBytes: 4 * vocabulary * chunk };
      return { loss: crossEntropy(graph, values.hidden!, dropping, options) };
    },
    seeds: null,
  });
  const oracle = { width, ...index };
  const dropped = drop(hidden, draw, width);
  const { dhidden, dhead } = backward(dropped, head, oracle, LOSS_SCALE);
  bench.compare("loss", result.output("loss"), [sum(forward(dropped, head, oracle))], 1e-6);
  bench.compare("d hidden", result.gradient("hidden"), undrop(dhidden, draw, width));
  bench.compare("d head", result.gradient("head"), dhead);
}

/** Logits that are exact (the head is the identity), one row at a time, each with a loss of its own. */
async function checkRows(
  bench: KernelBench,
  logits: readonly Float64Array[],
  targetOf: readonly number[],
): Promise<void> {
  const width = logits[0]!.length;
  const identity = Float64Array.from({ length: width * width }, (_, i) => (i % (width + 1) === 0 ? 1 : 0));
  const inputs: Record<string, Tensor> = {
    targetOfToken: { shape: [1], values: Int32Array.of(0) },
    targetRow: { shape: [1], values: Uint32Array.of(0) },
    lossScale: { shape: [1], values: Float64Array.of(LOSS_SCALE) },
  };
  logits.forEach((values, i) => {
    inputs[`row ${i}`] = { shape: [1, width], values, grad: true };
    inputs[`target ${i}`] = { shape: [1], values: Uint32Array.of(targetOf[i]!) };
  });
  const result = await bench.run({
    counts: { targets: 1 },
    inputs,
    constants: { head: { shape: [width, width], values: identity } },
    states: { scalars: { shape: [SCALAR_COUNT], values: new Float64Array(SCALAR_COUNT) } },
    trace: (graph, values) => {
      const head = stackRows("head", [values.head!]);
      const loss = (i: number): Value => {
        const options = { ...operandsIn(values), targetId: values[`target ${i}`]!, withGradient: true };
        return crossEntropy(graph, values[`row ${i}`]!, linearHead(graph, head), options);
      };
      return Object.fromEntries(logits.map((_, i) => [`loss ${i}`, loss(i)]));
    },
    seeds: null,
  });
  const scalars = new Float64Array(SCALAR_COUNT);
  logits.forEach((values, i) => {
    const { entropy, right } = certainty(values, identity, {
      width,
      targetRow: Uint32Array.of(0),
      targetId: Uint32Array.of(targetOf[i]!),
    });
    scalars[scalarAt.entropySum]! += entropy[0]!;
    scalars[scalarAt.rightSum]! += right[0]!;
  });
  for (const name of ["entropySum", "rightSum"] as const)
    bench.compare(name, [result.state("scalars")[scalarAt[name]]!], [scalars[scalarAt[name]]!], 2e-6);
  logits.forEach((values, i) => {
    const oracle = { width, targetRow: Uint32Array.of(0), targetId: Uint32Array.of(targetOf[i]!) };
    const [expected] = forward(values, identity, oracle);
    // A loss of 1e-6 is the sum of tails exp(−14) and less, whose argument alone is rounded by 5e-7.
    const tolerance = expected! < 1e-2 ? 5e-6 : 1e-6;
    bench.compare(`loss ${i}`, result.output(`loss ${i}`), [expected!], tolerance);
    bench.compare(
      `d row ${i}`,
      result.gradient(`row ${i}`),
      backward(values, identity, oracle, LOSS_SCALE).dhidden,
    );
  });
}

/** Each row by its own largest logit, though the next row's lie 175 above it, where exp of a difference is 0. */
async function checkFarRows(bench: KernelBench): Promise<void> {
  const oracle = { width: 1, targetRow: Uint32Array.of(0, 1), targetId: Uint32Array.of(1, 0) };
  const hidden = Float64Array.of(-100, 100);
  const head = Float64Array.of(1, 0.875, 0.75);
  const result = await bench.run({
    counts: { tokens: 2, targets: 2 },
    inputs: {
      hidden: { shape: ["tokens", 1], values: hidden, grad: true },
      targetRow: { shape: ["targets"], values: oracle.targetRow },
      targetId: { shape: ["targets"], values: oracle.targetId },
      targetOfToken: { shape: ["tokens"], values: Int32Array.of(0, 1) },
      lossScale: { shape: [1], values: Float64Array.of(LOSS_SCALE) },
    },
    constants: { head: { shape: [3, 1], values: head } },
    states: { scalars: { shape: [SCALAR_COUNT], values: new Float64Array(SCALAR_COUNT) } },
    trace: (graph, values) => {
      const options = { ...operandsIn(values), withGradient: true };
      const weight = stackRows("head", [values.head!]);
      return { loss: crossEntropy(graph, values.hidden!, linearHead(graph, weight), options) };
    },
    seeds: null,
  });
  bench.compare("loss", result.output("loss"), [sum(forward(hidden, head, oracle))], 1e-6);
  bench.compare("dhidden", result.gradient("hidden"), backward(hidden, head, oracle, LOSS_SCALE).dhidden);
}

async function checkEvaluation(bench: KernelBench): Promise<void> {
  const [tokens, targets, width, vocabulary] = [9, 7, 20, 131];
  const index = randomTargets(bench, tokens, targets, vocabulary);
  const head = bench.normal(vocabulary * width);
  const hidden = bench.normal(tokens * width);
  const result = await bench.run({
    counts: { tokens, targets },
    inputs: {
      hidden: { shape: ["tokens", width], values: hidden, grad: true },
      targetRow: { shape: ["targets"], values: index.targetRow },
      targetId: { shape: ["targets"], values: index.targetId },
      targetOfToken: { shape: ["tokens"], values: index.targetOfToken },
      lossScale: { shape: [1], values: Float64Array.of(LOSS_SCALE) },
    },
    parameters: { head: { shape: [vocabulary, width], values: head } },
    states: { scalars: { shape: [SCALAR_COUNT], values: scalarsBefore } },
    trace: (graph, values) => {
      const options = { ...operandsIn(values), withGradient: false, chunkBytes: 3 * 4 * vocabulary };
      const weight = stackRows("head", [values.head!]);
      const loss = crossEntropy(graph, values.hidden!, linearHead(graph, weight), options);
      const made = graph.values.filter((value) => value.kind === "computed" && value.name.startsWith("d "));
      if (made.length > 0) throw new Error(`evaluation makes ${made.map((value) => value.name).join(", ")}`);
      return { loss };
    },
    seeds: null,
  });
  const loss = sum(forward(hidden, head, { width, ...index }));
  bench.compare("loss", result.output("loss"), [loss], 1e-6);
  checkScalars(bench, result.state("scalars"), scalarsBefore, [hidden], head, { width, ...index });
  if (result.gradient("head").some((d) => d !== 0)) throw new Error("evaluation changed the head's gradient");
}

// Odd vocabularies, no multiple of 256 lanes; more targets than lanes; chunks that divide the targets and do not.
const cases: Record<string, Case> = {
  "one token": { tokens: 1, targets: 1, width: 5, head: [[2, "train"]], hiddenScale: 0.25 },
  "one chunk, frozen f32": { tokens: 9, targets: 7, width: 20, head: [[131, "f32"]] },
  "chunks of 1": { tokens: 9, targets: 7, width: 20, head: [[131, "train"]], chunk: 1, branch: true },
  "chunks of 3, the last live one short and one without rows": {
    tokens: 9,
    targets: 7,
    width: 20,
    head: [[131, "train"]],
    chunk: 3,
  },
  "chunks of 4, exact": {
    tokens: 12,
    targets: 8,
    width: 7,
    head: [[33, "f16"]],
    chunk: 4,
    capacity: 8,
    branch: true,
  },
  "three slices in three formats, chunks of 2": {
    tokens: 8,
    targets: 5,
    width: 12,
    head: [
      [40, "f16"],
      [300, "train"],
      [67, "bf16"],
    ],
    chunk: 2,
  },
  "50257 entries, bf16": {
    tokens: 4,
    targets: 3,
    width: 4,
    head: [[50257, "bf16"]],
    chunk: 2,
    hiddenScale: 0.5,
  },
  "more targets than lanes, a plan for many more": {
    tokens: 600,
    targets: 530,
    width: 5,
    head: [[11, "train"]],
    chunk: 1,
    capacity: 601,
  },
  "no targets": { tokens: 5, targets: 0, width: 6, head: [[10, "train"]], chunk: 2, branch: true },
};

// ln(1 + y) has its seam at y = √2 − 1, and another power of two begins at each 1 + y = √2·2ᵏ.
const seams = [-20, -14, -7, -3, Math.log(0.414), Math.log(0.4143), Math.log(1.828), Math.log(1.829), 3, 40];

export const suite = await kernelSuite(
  "crossentropy",
  onBothClasses([
    ...Object.entries(cases).map(
      ([name, test]): KernelCase => ({ name, passes: allPasses, run: (bench) => check(bench, test) }),
    ),
    {
      name: "a head that trains alone",
      passes: [...forwardPasses, "row_gradient"],
      run: (bench) =>
        check(bench, { tokens: 6, targets: 5, width: 8, head: [[19, "train"]], chunk: 2, hiddenGrad: false }),
    },
    {
      name: "every size of loss, from certain to hopeless",
      passes: allPasses,
      run: (bench) =>
        checkRows(
          bench,
          // The target's rival lies above or below it by so much; the rest far below.
          seams.map((rival) => Float64Array.of(-30, -31, 5, 5 + Math.fround(rival), -30.5).map(Math.fround)),
          seams.map(() => 2),
        ),
    },
    {
      name: "logits of ±80, the target highest, between and lowest",
      passes: allPasses,
      run: (bench) => {
        const row = Float64Array.from({ length: 300 }, (_, j) => (j % 2 ? 80 : -80) * bench.uniform()).map(
          Math.fround,
        );
        row[17] = 80;
        row[18] = -80;
        row[299] = 79;
        return checkRows(bench, [row, row, row, row], [17, 18, 299, 100]);
      },
    },
    { name: "a head with dropout", passes: [...allPasses, "gather_index"], run: checkDropped },
    { name: "evaluation", passes: forwardPasses, run: checkEvaluation },
    { name: "rows whose neighbours lie far above them", passes: allPasses, run: checkFarRows },
  ]),
);
