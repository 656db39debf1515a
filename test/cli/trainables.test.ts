import { expect, it } from "vitest";
import { auditLines, trainableLines } from "../../src/cli/trainables.ts";

it("lists what trains by group, layers together", () => {
  const of = (key: string, group: number) => ({
    key: `base_model.model.${key}`,
    name: null,
    shape: [2, 8],
    group,
  });
  const trainable = [
    ...[0, 1, 11].map((layer) => of(`model.layers.${layer}.mlp.up_proj.lora_A.weight`, 0)),
    of("model.layers.0.mlp.up_proj.lora_B.weight", 1),
  ];
  const groups = [
    { by: null, lr: 2e-4, weight_decay: 0.1 },
    { by: "param_groups[0]", lr: 0, weight_decay: 0 },
  ];
  expect(trainableLines({ trainable, groups })).toEqual([
    "  group    lr 0.0002, weight decay 0.1",
    "             3 × model.layers.[0–1, 11].mlp.up_proj.lora_A.weight [2, 8]",
    "  group    lr 0, weight decay 0, by train.param_groups[0]",
    "             model.layers.0.mlp.up_proj.lora_B.weight [2, 8]",
  ]);
});

it("tells what moved and what waits, and names every fault", () => {
  const of = (tensor: string, change: number, more: object = {}) => ({
    ...({
      tensor: `base_model.model.${tensor}`,
      change,
      norm: 1,
      expected: "yes",
      because: null,
      verdict: "ok",
    } as const),
    ...more,
  });
  const waits = { expected: "no", because: "lora_B is still zero" } as const;
  const tensors = [
    ...[0, 1].map((layer) => of(`layers.${layer}.up_proj.lora_A.weight`, 0, waits)),
    of("layers.0.up_proj.lora_B.weight", 0.5),
    of("layers.1.up_proj.lora_B.weight", 0, { verdict: "stuck" }),
    of("norm.weight", 0.1, { expected: "no", because: "its learning rate is 0", verdict: "strayed" }),
  ];
  const frozen = { tensors: 9, bytes: 1000, changed: ["layers.3.mlp.down_proj.weight"] };
  expect(auditLines({ step: 2, audit: { tensors, frozen }, elapsed_ms: 5 })).toEqual([
    "audit      after step 2: 2 of 5 tensors moved; 8 of the base's 9 on the device are as they were",
    "  still    2 × layers.[0–1].up_proj.lora_A.weight: lora_B is still zero",
    "  STUCK    layers.1.up_proj.lora_B.weight: should have moved",
    "  STRAYED  norm.weight: should not have moved",
    "  STRAYED  layers.3.mlp.down_proj.weight: frozen, and should not have moved",
  ]);
});
