/** The model and the data sets that are served with the page, and the gain that each of them has to show. */
import * as v from "valibot";
import list from "./bundled.json" with { type: "json" };

/** Folder of the bundled model, under the page's own address. */
export const BUNDLED_MODEL = {
  folder: "model",
  files: [
    "README.md",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "model.safetensors",
  ],
} as const;

/** Folder of the bundled rows, under the page's own address. */
export const BUNDLED_ROWS = "data";

const name = v.pipe(v.string(), v.nonEmpty());
const rows = v.pipe(v.string(), v.regex(/^[a-z]+\.(train|held)\.jsonl$/));

const score = v.strictObject({
  id: name,
  title: name,
  /** A file in BUNDLED_ROWS. */
  rows,
  /** Whether the run never sees these rows. */
  heldOut: v.boolean(),
  /** What PEFT came to with the same run: a share of the rows, or nats per target token. */
  withPeft: v.strictObject({ before: v.number(), after: v.number() }),
});

const common = {
  id: name,
  title: name,
  /** One sentence for the person who chooses. */
  shows: name,
  /** A file in BUNDLED_ROWS. */
  train: rows,
  /** What is scored before and after; every one of them has to reach the goal. */
  checks: v.pipe(v.array(score), v.minLength(1)),
  /** Worth asking both models side by side. */
  prompts: v.pipe(v.array(name), v.minLength(1)),
  /** The run file that reaches the goal. */
  run: v.strictObject({ lora: v.record(name, v.unknown()), train: v.record(name, v.unknown()) }),
  source: name,
  licence: name,
};

const bundledSet = v.variant("metric", [
  v.strictObject({
    ...common,
    kind: v.literal("chat"),
    /** Share of rows whose greedy answer is the row's, letter by letter. */
    metric: v.literal("exact-match"),
    goal: v.strictObject({ atLeast: v.number() }),
  }),
  v.strictObject({
    ...common,
    kind: v.literal("chat"),
    /** The same, where there are so few answers that guessing finds some. */
    metric: v.literal("accuracy"),
    /** What guessing comes to. */
    chance: v.number(),
    goal: v.strictObject({ atLeast: v.number() }),
  }),
  v.strictObject({
    ...common,
    kind: v.literal("text"),
    /** Nats per target token, over all rows together. */
    metric: v.literal("loss"),
    goal: v.strictObject({ downBy: v.number() }),
  }),
]);

export type BundledSet = v.InferOutput<typeof bundledSet>;
export type BundledCheck = v.InferOutput<typeof score>;

export const BUNDLED_SETS: readonly BundledSet[] = v.parse(v.array(bundledSet), list);

/** Whether a score reaches what the set promises. False for NaN. */
export function reachesGoal(set: BundledSet, before: number, after: number): boolean {
  return "atLeast" in set.goal ? after >= set.goal.atLeast : before - after >= set.goal.downBy;
}
