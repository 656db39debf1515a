import { expect, it } from "vitest";
import { relativeError } from "../harness/differences.ts";
import { type AdamWState, adamw, clipFactor, gradientNorm, tie } from "./optimizer.ts";

const settings = { beta1: 0.8, beta2: 0.95, epsilon: 1e-3, learningRate: 0.1, weightDecay: 0.2 };
const gradients = [
  [3, -4, 0, 12],
  [-1, 0.5, 2, 0.25],
  [0.1, 0.2, -0.3, 0.4],
].map((values) => Float64Array.from(values));

it("does three steps as torch.optim.AdamW and clip_grad_norm_ do them in float64", () => {
  let state: AdamWState = {
    parameters: Float64Array.of(0.5, -1.25, 0, 2),
    firstMoment: new Float64Array(4),
    secondMoment: new Float64Array(4),
  };
  const norms = gradients.map((gradient, i) => {
    const norm = gradientNorm([gradient]);
    const factor = clipFactor(norm, 1);
    state = adamw(
      state,
      gradient.map((g) => g * factor),
      { ...settings, step: i + 1 },
    );
    return norm;
  });
  // From torch 2.13.
  expect(norms[0]).toBeCloseTo(13, 12);
  expect(norms[1]).toBeCloseTo(2.3048861143232218, 12);
  const expected = {
    parameters: [0.42772233563793893, -1.104298278093757, -0.10625272369414651, 1.638715243291277],
    firstMoment: [-0.019879257118063598, 0.03532424583713816, 0.07883543276867194, 0.21550826616117344],
    secondMoment: [0.01184427485130636, 0.008507480869887426, 0.04026467484855708, 0.04700852127118217],
  };
  for (const key of ["parameters", "firstMoment", "secondMoment"] as const) {
    expect(relativeError(state[key], Float64Array.from(expected[key]))).toBeLessThan(1e-12);
  }
});

it("clips only above the norm, and never where the norm to keep is 0", () => {
  expect(clipFactor(2, 4)).toBe(1);
  expect(clipFactor(4, 1)).toBeCloseTo(0.25, 6);
  expect(clipFactor(4, 0)).toBe(1);
});

it("updates two parameters of one storage, one turned, as torch.optim.AdamW does", () => {
  const empty = () => ({ firstMoment: new Float64Array(6), secondMoment: new Float64Array(6) });
  let own: AdamWState = { parameters: Float64Array.of(0.5, -1.25, 0, 2, 1, -0.5), ...empty() };
  let twin: AdamWState = { parameters: new Float64Array(6), ...empty() };
  const steps = [
    [
      [3, -4, 0, 1, 0.5, 2],
      [1, 2, -1, 0.5, 0, 3],
    ],
    [
      [-1, 0.5, 2, 0.25, 0, 1],
      [0.1, 0.2, -0.3, 0.4, 2, -1],
    ],
  ] as const;
  steps.forEach(([ofOwn, ofTwin], i) => {
    const now = { ...settings, step: i + 1 };
    own = adamw(own, Float64Array.from(ofOwn), now);
    twin = adamw(twin, Float64Array.from(ofTwin), now);
    own = { ...own, parameters: tie(own.parameters, twin, [2, 3], now) };
  });
  // From torch 2.13: b = Parameter(a.data.t()), AdamW([a, b]).
  const expected = [
    0.1655654942742394, -0.8271495742939046, -0.15349946531244768, 1.5042842641794223, 0.5721435040364813,
    -0.7765608295472435,
  ];
  expect(relativeError(own.parameters, Float64Array.from(expected))).toBeLessThan(1e-12);
});
