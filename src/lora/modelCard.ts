import type { JsonObject } from "../base/json.ts";
import type { Selection } from "./selection.ts";

/** What a model card tells of a run. What was not measured is left out or shown as "—". */
export interface CardFacts {
  /** The base model's name or folder, or null where nobody said. */
  readonly baseModel: string | null;
  /** Of the base, in the words of its folder; null where that says nothing. */
  readonly baseLicence: string | null;
  readonly selection: Pick<Selection, "lora" | "whole">;
  /** init_lora_weights where A and B began as a part of the base; null otherwise. */
  readonly start: string | null;
  readonly trainableCount: number;
  readonly totalCount: number;
  /** What the adapter that the run went on from is called; null where it began anew. */
  readonly adapter: string | null;
  /** The run file as it was resolved, with the settings of that adapter. */
  readonly run: JsonObject;
  readonly dataset: {
    readonly name: string;
    readonly rows: number;
    readonly leftOut: number;
    /** Longer than max_length. */
    readonly cut: number;
    readonly tokens: number;
    readonly trainedTokens: number;
    /** Rows that were held out and never trained on. */
    readonly heldOut: number;
    readonly chatTemplate: string;
  };
  readonly steps: readonly { readonly step: number; readonly loss: number }[];
  /** Steps of a run that goes to its end. */
  readonly planned: number;
  /** What there was to be seen of it where the run diverged; null where it did not. */
  readonly diverged: string | null;
  readonly evaluations: readonly { readonly step: number; readonly loss: number }[];
  /** The evaluation whose values the files hold, or null where they are those of the last step. */
  readonly best: { readonly step: number; readonly metric: string; readonly value: number } | null;
  readonly elapsedMs: number | null;
  readonly device: string | null;
}

const MOST_CURVE_ROWS = 20;
const BAR_CHARACTERS = 20;

const BEGAN_AS_BASE =
  "a part of the base's weights. What came of it is plain LoRA of twice the rank here, for the base as it is";

/** The README.md that goes with an adapter, with the front matter that Hugging Face's hub reads. */
export function modelCard(facts: CardFacts): string {
  const { selection } = facts;
  const ranks = [...new Set(selection.lora.map(({ r }) => r))].sort((a, b) => a - b);
  const share = ((100 * facts.trainableCount) / facts.totalCount).toPrecision(3);
  const sections = [
    frontMatter(facts),
    "# LoRA adapter\n\nTrained with Graft, in LoRA's arithmetic as PEFT defines it.",
    `## Use\n\n${usage(facts.baseModel)}`,
    `## Base\n\n${table([
      ["model", facts.baseModel ?? "—"],
      ["licence", facts.baseLicence ?? "unknown: see the base"],
    ])}`,
    `## What trains\n\n${table([
      ["modules adapted", String(selection.lora.length)],
      ["kinds", kinds(selection.lora.map(({ module }) => module.name))],
      ["rank", ranks.join(", ")],
      ...(facts.adapter === null ? [] : [["went on from", facts.adapter]]),
      ...(facts.start === null ? [] : [["began as", `${facts.start}: ${BEGAN_AS_BASE}`]]),
      [
        "trained whole",
        kinds(
          selection.whole.map(({ module, parameter }) => `${module.name}.${parameter}`),
          2,
        ) || "none",
      ],
      ["trainable values", `${facts.trainableCount} of ${facts.totalCount} (${share} %)`],
    ])}`,
    `## Data\n\n${table([
      ["data set", facts.dataset.name],
      ["rows", String(facts.dataset.rows)],
      ["rows left out (nothing to train on)", String(facts.dataset.leftOut)],
      ["rows cut (longer than max_length)", String(facts.dataset.cut)],
      ["rows held out", String(facts.dataset.heldOut)],
      ["tokens", String(facts.dataset.tokens)],
      ["trained tokens", String(facts.dataset.trainedTokens)],
      ["conversations", facts.dataset.chatTemplate],
    ])}`,
    `## Run\n\n${table([
      ["device", facts.device ?? "—"],
      ["optimizer steps", stepsTaken(facts)],
      ...(facts.diverged === null ? [] : [["ended", facts.diverged]]),
      ["values of", valuesOf(facts)],
      ["time", facts.elapsedMs === null ? "—" : `${(facts.elapsedMs / 1000).toFixed(1)} s`],
    ])}\n\n\`\`\`json\n${JSON.stringify(facts.run, null, 2)}\n\`\`\``,
    `## Loss\n\nMean over the trained tokens of a step, before its update.\n\n${curve(facts)}`,
  ];
  return `${sections.join("\n\n")}\n`;
}

function frontMatter({ baseModel, baseLicence }: CardFacts): string {
  const lines = ["library_name: peft", "pipeline_tag: text-generation", "tags:", "- lora", "- graft"];
  // JSON's strings are YAML's too, so nothing in a name can break out of it.
  if (baseModel !== null) lines.unshift(`base_model: ${JSON.stringify(baseModel)}`);
  // The hub refuses a card whose licence is none of its names; they are spelt like this.
  if (baseLicence !== null && /^[a-z0-9][a-z0-9.-]*$/.test(baseLicence))
    lines.push(`license: ${baseLicence}`);
  return `---\n${lines.join("\n")}\n---`;
}

function usage(baseModel: string | null): string {
  const base = JSON.stringify(baseModel ?? "the base model");
  return [
    "```python",
    "from peft import PeftModel",
    "from transformers import AutoModelForCausalLM",
    `base = AutoModelForCausalLM.from_pretrained(${base})`,
    `model = PeftModel.from_pretrained(base, "this folder")`,
    "```",
  ].join("\n");
}

function stepsTaken({ steps, planned }: CardFacts): string {
  return steps.length === planned ? String(planned) : `${steps.length} of ${planned}`;
}

/** The step that the files are of. */
function valuesOf({ best, steps }: CardFacts): string {
  if (best === null) return `step ${steps.length}, the last`;
  return `step ${best.step}, the best by ${best.metric} (${best.value.toFixed(4)})`;
}

/** The last parts of names, each once: `q_proj, v_proj`. */
function kinds(names: readonly string[], parts = 1): string {
  return [...new Set(names.map((name) => name.split(".").slice(-parts).join(".")))].join(", ");
}

function curve(facts: CardFacts): string {
  const evaluated = new Map(facts.evaluations.map(({ step, loss }) => [step, loss]));
  const shown = condensed(facts.steps);
  const highest = shown.reduce((most, { loss }) => Math.max(most, loss), 0);
  const rows = shown.map(({ first, loss, last }) => {
    const within = [...evaluated].filter(([step]) => step >= first && step <= last).at(-1);
    const steps = first === last ? `${last}` : `${first}–${last}`;
    return [steps, loss.toFixed(4), within?.[1].toFixed(4) ?? "—", bar(loss / highest)];
  });
  return table(rows, ["steps", "loss", "evaluation", ""]);
}

/** A share of the highest loss, in eighths of a character: a curve wherever a table is shown. */
function bar(share: number): string {
  const eighths = Math.round(8 * BAR_CHARACTERS * share);
  return "█".repeat(Math.floor(eighths / 8)) + ["", ..."▏▎▍▌▋▊▉"][eighths % 8]!;
}

/** At most twenty rows, each the mean over equally many steps (the last may hold fewer). */
function condensed(steps: CardFacts["steps"]): { first: number; last: number; loss: number }[] {
  const width = Math.max(1, Math.ceil(steps.length / MOST_CURVE_ROWS));
  const rows: { first: number; last: number; loss: number }[] = [];
  for (let start = 0; start < steps.length; start += width) {
    const part = steps.slice(start, start + width);
    const loss = part.reduce((sum, one) => sum + one.loss, 0) / part.length;
    rows.push({ first: part[0]!.step, last: part.at(-1)!.step, loss });
  }
  return rows;
}

function table(rows: readonly (readonly string[])[], head: readonly string[] = ["", ""]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replace(/[|\\<`]/g, "\\$&").replace(/\s+/g, " ")).join(" | ")} |`;
  return [line(head), `|${"---|".repeat(head.length)}`, ...rows.map(line)].join("\n");
}
