import { expect, it } from "vitest";
import { type CardFacts, modelCard } from "../../src/lora/modelCard.ts";
import { runOn } from "./fixtures.ts";

const facts: CardFacts = {
  baseModel: 'org/base: "small"',
  baseLicence: "apache-2.0",
  selection: runOn("llama", { r: 4, modules_to_save: ["lm_head"] }),
  start: null,
  trainableCount: 123,
  totalCount: 4567,
  adapter: null,
  run: { lora: { r: 4 }, train: { seed: 1 } },
  dataset: {
    ...{ name: "rows|with <b>.jsonl", rows: 40, leftOut: 2, cut: 3, heldOut: 4 },
    ...{ tokens: 1000, trainedTokens: 900, chatTemplate: "as in chat_template.jinja" },
  },
  steps: Array.from({ length: 45 }, (_, i) => ({ step: i + 1, loss: 45 - i })),
  evaluations: [{ step: 30, loss: 1.25 }],
  ...{ planned: 45, diverged: null },
  best: null,
  elapsedMs: null,
  device: "llvmpipe",
};

it("tells of the run in the form that the hub reads", () => {
  const card = modelCard(facts);
  expect(card).toMatch(/^---\nbase_model: "org\/base: \\"small\\""\nlibrary_name: peft\n/);
  expect(card).toContain("| modules adapted | 24 |");
  expect(card).toContain("| kinds | q_proj, v_proj |");
  expect(card).toContain("| trained whole | lm_head.weight |");
  expect(card).toContain("| trainable values | 123 of 4567 (2.69 %) |");
  // A file's name cannot break the table or become HTML.
  expect(card).toContain("| data set | rows\\|with \\<b>.jsonl |");
  expect(card).toContain("| rows held out | 4 |");
  expect(card).toContain("| conversations | as in chat_template.jinja |");
  expect(card).toContain('"seed": 1');
  expect(card).toContain("| time | — |");
});

it("states the base's licence, and to the hub only where that is one of its names", () => {
  const cardWith = (baseLicence: string | null) => modelCard({ ...facts, baseLicence });
  expect(modelCard(facts)).toMatch(/^license: apache-2\.0$/m);
  expect(modelCard(facts)).toContain("| licence | apache-2.0 |");
  expect(cardWith("Apache License")).not.toMatch(/^license:/m);
  expect(cardWith("Apache License")).toContain("| licence | Apache License |");
  expect(cardWith(null)).toContain("| licence | unknown: see the base |");
  expect(cardWith(null)).not.toMatch(/^license:/m);
});

it("says what it went on from", () => {
  expect(modelCard(facts)).not.toContain("went on from");
  expect(modelCard({ ...facts, adapter: "my-adapter" })).toContain("| went on from | my-adapter |");
});

it("says which step its values are of", () => {
  expect(modelCard(facts)).toContain("| values of | step 45, the last |");
  const best = { step: 30, metric: "eval_loss", value: 1.25 };
  expect(modelCard({ ...facts, best })).toContain("| values of | step 30, the best by eval_loss (1.2500) |");
});

it("tells of a run that did not go to its end, and of one that diverged", () => {
  expect(modelCard(facts)).toMatch(/\| optimizer steps \| 45 \|\n\| values of/);
  expect(modelCard({ ...facts, planned: 60 })).toMatch(/\| optimizer steps \| 45 of 60 \|\n\| values of/);
  const diverged = "After 45 steps the loss is NaN: the run has diverged.";
  expect(modelCard({ ...facts, planned: 60, diverged })).toContain(`45 of 60 |\n| ended | ${diverged} |\n`);
});

it("condenses the loss curve without leaving a step out", () => {
  const card = modelCard(facts);
  const rows = card.match(/^\| \d+–\d+ \|.*$/gm) ?? [];
  expect(rows).toHaveLength(15);
  // Steps 1 to 3 have losses 45, 44, 43.
  expect(rows[0]).toBe(`| 1–3 | 44.0000 | — | ${"█".repeat(20)} |`);
  expect(rows[9]).toBe(`| 28–30 | 17.0000 | 1.2500 | ${"█".repeat(7)}▊ |`);
  expect(modelCard({ ...facts, steps: facts.steps.slice(0, 2) })).toContain(
    `| 1 | 45.0000 | — | ${"█".repeat(20)} |\n| 2 | 44.0000 | — | ${"█".repeat(19)}▌ |`,
  );
});

it("loads by four lines of Python", () => {
  expect(modelCard(facts)).toContain(
    '```python\nfrom peft import PeftModel\nfrom transformers import AutoModelForCausalLM\nbase = AutoModelForCausalLM.from_pretrained("org/base: \\"small\\"")\nmodel = PeftModel.from_pretrained(base, "this folder")\n```',
  );
});
