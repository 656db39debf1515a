import { expect, it } from "vitest";
import { trainableLines } from "../../src/cli/trainables.ts";

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
    "             3 × model.layers.*.mlp.up_proj.lora_A.weight [2, 8]",
    "  group    lr 0, weight decay 0, by train.param_groups[0]",
    "             model.layers.0.mlp.up_proj.lora_B.weight [2, 8]",
  ]);
});
