/** What was chosen to train, and the files that the worker is given for it. */
import { DataError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import { BUNDLED_SETS, type BundledSet } from "../data/bundled.ts";
import type { AdapterSource, DataRequest, Folder, OpenRequest } from "../worker/api.ts";
import type { Bundle } from "./bundle.ts";
import { type OwnRow, ownRowsFile } from "./rows.ts";
import type { Reading, Settings } from "./settings.ts";

export type DataChoice =
  | { readonly kind: "bundled"; readonly id: string }
  | { readonly kind: "written" }
  | { readonly kind: "files"; readonly files: readonly File[] };

/** Where rows are held out and nothing else is said, they are looked at after every eighth of the run. */
export const EVALUATED_SHARE = 0.125;
/** Of one's own rows such a share is held out where nothing else is said, and of fewer rows than this none. */
export const HELD_OUT_SHARE = 0.1;
const FEWEST_TO_SPLIT = 10;
const WRITTEN_NAME = "text.txt";

export interface Choices {
  /** Absent: the bundled one. */
  readonly model: Folder | undefined;
  readonly data: DataChoice;
  /** Rows of the user's own beside those of a bundled set of questions. */
  readonly ownRows: readonly OwnRow[];
  /** Text that was written or pasted. */
  readonly text: string;
  readonly reading: Reading;
  /** Rows that cannot be used are left out. */
  readonly skipsFaulty: boolean;
  /** Held-out rows of one's own beside those that are trained on. */
  readonly heldOut: readonly File[] | undefined;
  /** How conversations are written, in place of the model's own way. */
  readonly chatTemplate: File | undefined;
  /** An adapter to go on from. */
  readonly adapter: AdapterSource | undefined;
}

export const FIRST_CHOICES: Choices = {
  model: undefined,
  data: { kind: "bundled", id: BUNDLED_SETS[0]!.id },
  ownRows: [],
  text: "",
  reading: {},
  skipsFaulty: false,
  heldOut: undefined,
  chatTemplate: undefined,
  adapter: undefined,
};

/** The set whose rows were chosen; undefined where they are the user's own. */
export function bundledSetOf({ data }: Choices): BundledSet | undefined {
  return data.kind === "bundled" ? BUNDLED_SETS.find(({ id }) => id === data.id) : undefined;
}

/** The rows that a set is scored on by its answers and the run never sees; undefined where there are none. */
function heldOutRowsOf(set: BundledSet): string | undefined {
  return set.checks.find(({ heldOut }) => heldOut)?.rows;
}

export function isChosen({ data, text }: Choices): boolean {
  return data.kind !== "written" || text.trim() !== "";
}

/** The share of the rows that is held out; null for none. `rowCount` is absent before they are read. */
export function heldOutShare({ data, heldOut, reading }: Choices, rowCount?: number): number | null {
  if (reading.eval_split !== undefined) return reading.eval_split as number | null;
  const isSplit = data.kind !== "bundled" && !heldOut && (rowCount ?? FEWEST_TO_SPLIT) >= FEWEST_TO_SPLIT;
  return isSplit ? HELD_OUT_SHARE : null;
}

/** What the worker is asked, with the run's settings in it. */
export interface PlannedData extends DataRequest {
  readonly run: { readonly lora: JsonObject; readonly train: JsonObject };
}

/** Throws GraftError where a bundled file cannot be had. */
export async function dataRequestFor(
  choices: Choices,
  run: Settings,
  bundle: Bundle,
  rowCount?: number,
): Promise<PlannedData> {
  const { reading, skipsFaulty, chatTemplate } = choices;
  const files = await filesFor(choices, bundle);
  const eval_split = heldOutShare(choices, rowCount);
  const isHeldOut = eval_split !== null || files.heldOut !== undefined;
  const evaluated = isHeldOut ? { eval_steps: EVALUATED_SHARE } : {};
  const template = chatTemplate ? { chat_template_path: chatTemplate.name } : {};
  return {
    ...files,
    faulty: skipsFaulty ? "skip" : "refuse",
    run: { lora: run.lora, train: { ...evaluated, ...run.train, ...template, ...reading, eval_split } },
  };
}

/** `samples` are those of the run, unless its settings name others. Throws GraftError where the bundled model cannot be had. */
export async function requestFor(
  choices: Choices,
  data: PlannedData,
  bundle: Bundle,
  samples: JsonObject | undefined,
): Promise<OpenRequest> {
  const { adapter, chatTemplate } = choices;
  const { lora, train } = data.run;
  const run = samples ? { lora, train: { ...train, samples: train.samples ?? samples } } : data.run;
  return { ...data, run, model: choices.model ?? (await bundle.model()), adapter, chatTemplate };
}

async function filesFor(choices: Choices, bundle: Bundle): Promise<Pick<DataRequest, "data" | "heldOut">> {
  const { data, text, ownRows, heldOut } = choices;
  switch (data.kind) {
    case "bundled": {
      const set = bundledSetOf(choices);
      if (!set) throw new DataError("no-such-set", `There is no bundled data set "${data.id}".`);
      const held = heldOutRowsOf(set);
      const [train, heldOutRows] = await Promise.all([bundle.rows(set.train), held && bundle.rows(held)]);
      const own = set.kind === "chat" ? ownRowsFile(ownRows) : undefined;
      return { data: own ? [train, own] : [train], heldOut: heldOutRows ? [heldOutRows] : undefined };
    }
    case "written":
      return { data: [new File([text], WRITTEN_NAME)], heldOut };
    case "files":
      return { data: data.files, heldOut };
    default:
      return data satisfies never;
  }
}

/** What a run of this model on this data begins with: what the bundled set is known to need, or what is usual. */
export function recommendedFor(choices: Choices): Settings {
  const set = bundledSetOf(choices);
  // The toy wants a learning rate that would ruin a model of full size.
  const train: JsonObject =
    choices.model !== undefined
      ? { max_steps: 100, per_device_train_batch_size: 4, learning_rate: 2e-4, max_length: 512 }
      : ((set?.run.train as JsonObject | undefined) ?? {
          ...{ max_steps: 200, per_device_train_batch_size: 4, learning_rate: 0.005 },
          ...{ warmup_steps: 10, max_length: 256 },
        });
  const lora = (set?.run.lora as JsonObject | undefined) ?? {
    ...{ r: 8, lora_alpha: 16, target_modules: "all-linear" },
  };
  return { lora, train };
}
