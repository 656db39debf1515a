/** The folder of the adapter that a run has trained: as PEFT would save it, and with all that tells where it came from. */
import type { FileSet } from "../base/bytes.ts";
import type { FoundTemplate } from "../data/chat.ts";
import { tokenizerFiles } from "../data/tokenizerFiles.ts";
import { statedLicence } from "../formats/licence.ts";
import { exportConfig, reexportConfig } from "../lora/exportConfig.ts";
import { type CardFacts, modelCard } from "../lora/modelCard.ts";
import { type AdapterContent, plainLora } from "../lora/plainLora.ts";
import { configWithWhole } from "../lora/requiresGrad.ts";
import { writeAdapter } from "../lora/writeAdapter.ts";
import type { AdaptedModel } from "./adaptedModel.ts";
import type { Best } from "./best.ts";
import { tensorsBeside, trainedValues } from "./initialValues.ts";
import type { OpenedAdapter } from "./openAdapter.ts";
import type { Report } from "./reports.ts";
import { type RunConfig, runFileOf } from "./runFile.ts";
import type { SessionSummary } from "./sessionSummary.ts";

/** What a run does not know of itself. */
export interface ExportFacts {
  /** The base model's name or folder. */
  readonly baseModel: string | null;
  readonly dataset: string;
  readonly device: string | null;
}

export interface TrainedRun {
  readonly base: FileSet;
  readonly run: RunConfig;
  readonly adapted: AdaptedModel;
  /** What it started from. */
  readonly loaded: OpenedAdapter | undefined;
  /** Undefined where no conversation was written, and the model has no template either. */
  readonly trainedWith: FoundTemplate | undefined;
  readonly summary: SessionSummary;
  /** In the order of its telling. */
  readonly told: readonly Report[];
  /** The evaluation whose values the model has, or null where they are those of the last step. */
  readonly best: Best | null;
}

/** The adapter as it is now, as PEFT's save_pretrained would write it, with tokenizer, chat template, model card and metrics. */
export async function trainedFiles(
  trained: TrainedRun,
  facts: ExportFacts,
): Promise<Map<string, Uint8Array>> {
  const { base, adapted, loaded, trainedWith, told } = trained;
  const plain = await plainContent(trained, facts);
  const kept = tensorsBeside(adapted.model, plain.selection, loaded?.adapter.kept ?? []);
  const files = await writeAdapter(
    configWithWhole(plain.json, plain.selection),
    plain.selection,
    (key) => plain.values.get(key)!,
    { kept, types: loaded?.adapter.types ?? new Map() },
  );
  for (const [name, bytes] of await tokenizerFiles(base, trainedWith)) files.set(name, bytes);
  const text = new TextEncoder();
  const card = modelCard({
    ...cardFacts(trained, facts),
    baseLicence: (await statedLicence(base)) ?? null,
    selection: plain.selection,
  });
  files.set("README.md", text.encode(card));
  files.set("metrics.jsonl", text.encode(told.map((report) => `${JSON.stringify(report)}\n`).join("")));
  return files;
}

/** What was trained, for the base as it is. */
async function plainContent(
  { run, adapted, loaded }: TrainedRun,
  { baseModel }: ExportFacts,
): Promise<AdapterContent> {
  const { selection } = adapted;
  const config = loaded?.files.config ?? run.lora;
  const json = loaded ? reexportConfig(loaded.files.given) : exportConfig(selection, config, baseModel);
  return plainLora({ json, selection, values: await trainedValues(adapted) }, config);
}

function cardFacts(
  { run, adapted, loaded, trainedWith, summary, told, best }: TrainedRun,
  { baseModel, dataset, device }: ExportFacts,
): Omit<CardFacts, "baseLicence" | "selection"> {
  const { tokenised, heldOut, trainableCount, parameters } = summary;
  const steps = told.filter((report) => "loss" in report);
  const evaluations = told.filter((report) => "eval_loss" in report);
  return {
    baseModel,
    start: adapted.selection.lora.find(({ fromBase }) => fromBase !== null)?.fromBase ?? null,
    trainableCount,
    totalCount: parameters + trainableCount,
    adapter: loaded ? ownName(loaded.files.label) : null,
    // An adapter's own settings count, and not what the run file leaves open.
    run: runFileOf(loaded ? { ...run, lora: loaded.files.config } : run),
    dataset: {
      name: dataset,
      rows: tokenised.rows.length,
      leftOut: tokenised.leftOut,
      cut: tokenised.cut,
      tokens: tokenised.tokens,
      trainedTokens: tokenised.targets,
      heldOut: heldOut?.rows.length ?? 0,
      chatTemplate: trainedWith ? "as in chat_template.jinja" : "none",
    },
    steps,
    planned: summary.steps,
    diverged: told.find((report) => "diverged" in report)?.diverged ?? null,
    evaluations: evaluations.map(({ step, eval_loss }) => ({ step, loss: eval_loss })),
    best,
    elapsedMs: steps.at(-1)?.elapsed_ms ?? null,
    device,
  };
}

/** Of a folder or file, without where it lies. */
export function ownName(path: string): string {
  return path.split(/[\\/]/).findLast((part) => part !== "") ?? path;
}
