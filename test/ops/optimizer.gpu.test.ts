import { ArenaLayout } from "../../src/graph/arena.ts";
import {
  type AdamWSettings,
  COMMON_HYPER_COUNT,
  commonHyper,
  GROUP_HYPER_COUNT,
  type GroupSettings,
  groupHyper,
  optimizerStep,
} from "../../src/ops/optimizer.ts";
import { SCALAR_COUNT, scalarAt } from "../../src/ops/scalars.ts";
import type { KernelBench, Tensor } from "../harness/bench.ts";
import { kernelSuite } from "../harness/cases.ts";
import { type AdamWState, adamw, clipFactor, gradientNorm, tie } from "../reference/optimizer.ts";

interface Run {
  readonly name: string;
  /** Elements of each tensor of each chunk, with its parameter group; tensors fill whole blocks of 64. */
  readonly chunks: readonly (readonly { elements: number; group: number }[])[];
  readonly groups: readonly GroupSettings[];
  /** A tensor of a chunk, [rows, columns], and its twin. */
  readonly ties?: readonly {
    readonly chunk: number;
    readonly first: number;
    readonly second: number;
    readonly shape: readonly [number, number];
  }[];
  readonly settings: AdamWSettings;
  readonly steps: number;
  /** Typical size of a gradient's elements. */
  readonly gradientScale: number;
}

const roles = ["parameters", "firstMoment", "secondMoment"] as const;
/** What the micro-batches have summed up: no matter of the update. */
const sums = { lossSum: 7.25, entropySum: 3.5, rightSum: 2 };

/** Blocks of a chunk as the arenas lay them out: which elements belong to a tensor, and each block's group. */
function layOut(tensors: Run["chunks"][number]) {
  const layout = new ArenaLayout(2 ** 30);
  const inTensor: boolean[] = [];
  const places: number[] = [];
  tensors.forEach(({ elements }, i) => {
    const { place } = layout.place(`tensor ${i}`, [elements]);
    places.push(place.byteOffset / 4);
    for (let at = 0; at < Math.ceil(elements / 64) * 64; at++)
      inTensor[place.byteOffset / 4 + at] = at < elements;
  });
  const groupOf = (name: string): number => tensors[Number(name.slice("tensor ".length))]!.group;
  return { groups: layout.groupOfBlocks(0, groupOf), inTensor, places };
}

async function check(
  bench: KernelBench,
  { chunks, groups, ties = [], settings, steps, gradientScale }: Run,
): Promise<void> {
  const layouts = chunks.map(layOut);
  const filled = (scale: number, inTensor: boolean[], sign: (x: number) => number = (x) => x): Float64Array =>
    bench.normal(inTensor.length, scale).map((value, i) => (inTensor[i] ? sign(value) : 0));
  // Moments start as if earlier steps had been done: an update that forgets them is seen.
  const start: AdamWState[] = layouts.map(({ inTensor }) => ({
    parameters: filled(0.05, inTensor),
    firstMoment: filled(gradientScale / 4, inTensor),
    secondMoment: filled(gradientScale ** 2 / 4, inTensor, Math.abs),
  }));
  const placed = ties.map(({ chunk, first, second, shape: [rows, columns] }) => {
    const { places } = layouts[chunk]!;
    return { chunk, first: places[first]!, second: places[second]!, rows, columns };
  });
  const gradients = Array.from({ length: steps }, () =>
    layouts.map(({ inTensor }) => filled(gradientScale, inTensor)),
  );
  const groupsAt = (step: number): GroupSettings[] =>
    groups.map((group) => ({ ...group, learningRate: group.learningRate / step }));

  const states: Record<string, Tensor> = {};
  const inputs: Record<string, Tensor> = {};
  const state = (name: string, values: Float64Array): void => {
    states[name] = { shape: [values.length], values };
  };
  start.forEach((chunk, c) => {
    for (const role of roles) state(`${role} ${c}`, chunk[role]);
  });
  for (let step = 1; step <= steps; step++) {
    gradients[step - 1]!.forEach((gradient, c) => {
      state(`gradients ${c} of step ${step}`, gradient);
    });
    const { lossSum, entropySum, rightSum } = sums;
    state(`scalars of step ${step}`, Float64Array.of(lossSum, 99, 99, entropySum, rightSum));
    const common = Float64Array.from(commonHyper(settings, step));
    const each = Float64Array.from(groupHyper(settings, groupsAt(step), step));
    inputs[`hyper of step ${step}`] = { shape: [COMMON_HYPER_COUNT], values: common };
    inputs[`groups of step ${step}`] = { shape: [groups.length, GROUP_HYPER_COUNT], values: each };
  }
  const result = await bench.run({
    counts: {},
    inputs,
    states,
    trace: (graph, values) => {
      for (let step = 1; step <= steps; step++) {
        optimizerStep(graph, {
          chunks: layouts.map(({ groups }, c) => ({
            parameters: values[`parameters ${c}`]!,
            gradients: values[`gradients ${c} of step ${step}`]!,
            firstMoment: values[`firstMoment ${c}`]!,
            secondMoment: values[`secondMoment ${c}`]!,
            groups,
          })),
          ties: placed,
          groupHyper: values[`groups of step ${step}`]!,
          hyper: values[`hyper of step ${step}`]!,
          scalars: values[`scalars of step ${step}`]!,
        });
      }
      return {};
    },
  });

  let expected = start;
  for (let step = 1; step <= steps; step++) {
    const norm = gradientNorm(gradients[step - 1]!);
    const factor = clipFactor(norm, settings.maxGradNorm);
    const scalars = result.state(`scalars of step ${step}`);
    if (scalars.length !== SCALAR_COUNT) throw new Error(`scalars have ${scalars.length} places`);
    bench.compare("gradient norm", [scalars[scalarAt.gradNorm]!], [norm], 1e-6);
    bench.compare("clip factor", [scalars[scalarAt.clipFactor]!], [factor], 1e-6);
    for (const name of ["lossSum", "entropySum", "rightSum"] as const)
      bench.compare(name, [scalars[scalarAt[name]]!], [sums[name]], 0);
    const groupsNow = groupsAt(step);
    expected = expected.map((chunk, c) => {
      const next = { ...chunk, ...blank(chunk.parameters.length) };
      layouts[c]!.groups.forEach((group, block) => {
        const part = (values: Float64Array) => values.subarray(64 * block, 64 * block + 64);
        const before = {
          parameters: part(chunk.parameters),
          firstMoment: part(chunk.firstMoment),
          secondMoment: part(chunk.secondMoment),
        };
        const gradient = part(gradients[step - 1]![c]!).map((g) => g * factor);
        const after = adamw(before, gradient, { ...settings, ...groupsNow[group]!, step });
        for (const role of roles) next[role].set(after[role], 64 * block);
      });
      return next;
    });
    for (const { chunk, first, second, rows, columns } of placed) {
      const { parameters, firstMoment, secondMoment } = expected[chunk]!;
      const end = rows * columns;
      const twin = {
        firstMoment: firstMoment.subarray(second, second + end),
        secondMoment: secondMoment.subarray(second, second + end),
      };
      const group = groupsNow[layouts[chunk]!.groups[second / 64]!]!;
      const now = { ...settings, ...group, step };
      const together = tie(parameters.slice(first, first + end), twin, [rows, columns], now);
      parameters.set(together, first);
      together.forEach((value, i) => {
        parameters[second + (i % columns) * rows + Math.floor(i / columns)] = value;
      });
    }
  }
  expected.forEach((chunk, c) => {
    const { inTensor } = layouts[c]!;
    for (const role of roles) {
      const found = result.state(`${role} ${c}`);
      bench.compare(`${role} ${c}`, found, chunk[role]);
      const gap = found.findIndex((value, i) => !inTensor[i] && value !== 0);
      if (gap >= 0) throw new Error(`${role} ${c}: the gap at [${gap}] became ${found[gap]}`);
    }
    for (let step = 1; step <= steps; step++) {
      const name = `gradients ${c} of step ${step}`;
      bench.compare(name, result.state(name), gradients[step - 1]![c]!, 0);
    }
  });
}

function blank(length: number): AdamWState {
  return {
    parameters: new Float64Array(length),
    firstMoment: new Float64Array(length),
    secondMoment: new Float64Array(length),
  };
}

// Betas and an epsilon whose loss shows; a learning rate at which the update outweighs the parameters.
const settings: AdamWSettings = { beta1: 0.8, beta2: 0.95, epsilon: 0.1, maxGradNorm: 1 };
const groups: GroupSettings[] = [
  { learningRate: 0.1, weightDecay: 0.5 },
  { learningRate: 0.03, weightDecay: 0 },
  { learningRate: 0.3, weightDecay: 0.2 },
];
const mixed = [
  [
    { elements: 100, group: 0 },
    { elements: 1, group: 1 },
    { elements: 64, group: 2 },
    { elements: 4097, group: 1 },
  ],
  // Ends without a gap, so that one element too many is seen.
  [{ elements: 9024, group: 2 }],
  [
    { elements: 63, group: 1 },
    { elements: 65, group: 0 },
  ],
];

const runs: Run[] = [
  {
    name: "five elements",
    chunks: [[{ elements: 5, group: 0 }]],
    groups,
    settings,
    steps: 1,
    gradientScale: 1,
  },
  { name: "three chunks and groups, clipped", chunks: mixed, groups, settings, steps: 4, gradientScale: 1 },
  {
    name: "three chunks and groups, below the norm to clip at",
    chunks: mixed,
    groups,
    settings: { ...settings, maxGradNorm: 1e4 },
    steps: 2,
    gradientScale: 1,
  },
  {
    name: "three chunks and groups, not clipped",
    chunks: mixed,
    groups,
    settings: { ...settings, maxGradNorm: 0 },
    steps: 3,
    gradientScale: 1,
  },
  {
    name: "two ties, of groups of their own",
    chunks: [
      mixed[0]!,
      [
        { elements: 70, group: 0 },
        { elements: 600, group: 0 },
        { elements: 70, group: 2 },
        { elements: 600, group: 1 },
      ],
    ],
    groups,
    ties: [
      { chunk: 1, first: 0, second: 2, shape: [7, 10] },
      { chunk: 1, first: 1, second: 3, shape: [3, 200] },
    ],
    settings,
    steps: 3,
    gradientScale: 1,
  },
  {
    // The epsilon that is added to the norm counts here.
    name: "a norm near 1e-6",
    chunks: [[{ elements: 130, group: 2 }]],
    groups,
    settings: { ...settings, epsilon: 1e-8, maxGradNorm: 1e-6 },
    steps: 2,
    gradientScale: 1e-7,
  },
  {
    // More partial sums than the last workgroup has lanes; PyTorch's own defaults.
    name: "a million elements and more",
    chunks: [[{ elements: 1_100_003, group: 0 }], [{ elements: 70_001, group: 1 }]],
    groups,
    settings: { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, maxGradNorm: 1 },
    steps: 1,
    gradientScale: 0.01,
  },
];

export const suite = await kernelSuite(
  "optimizer",
  runs.map((run) => ({
    name: run.name,
    passes: ["norm_partial", "norm_total", "adamw", ...(run.ties ? ["tie"] : [])],
    run: (bench: KernelBench) => check(bench, run),
  })),
);
