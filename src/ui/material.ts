/** What was chosen to train, and the files that the worker is given for it. */
import { DataError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import { BUNDLED_SETS, type BundledSet } from "../data/bundled.ts";
import type { Folder, OpenRequest } from "../worker/api.ts";
import type { Bundle } from "./bundle.ts";
import { type OwnRow, rowsFile, type Split, splitRows, withOwnRows } from "./rows.ts";
import type { Settings } from "./settings.ts";

export type DataChoice =
  | { readonly kind: "bundled"; readonly id: string }
  | { readonly kind: "written" }
  | { readonly kind: "file"; readonly file: File };

/** Where rows are held out and nothing else is said, they are looked at after every eighth of the run. */
export const EVALUATED_SHARE = 0.125;

export interface Choices {
  /** Absent: the bundled one. */
  readonly model: Folder | undefined;
  readonly data: DataChoice;
  /** Rows of the user's own beside those of a bundled set of questions. */
  readonly ownRows: readonly OwnRow[];
  /** Text that was written or pasted, and how it becomes rows. */
  readonly text: string;
  readonly split: Split;
  /** Whether some of the written rows are held out. */
  readonly holdsOut: boolean;
  /** Held-out rows beside a file of one's own. */
  readonly heldOut: File | undefined;
  /** An adapter to go on from. */
  readonly adapter: Folder | undefined;
}

export const FIRST_CHOICES: Choices = {
  model: undefined,
  data: { kind: "bundled", id: BUNDLED_SETS[0]!.id },
  ownRows: [],
  text: "",
  split: "lines",
  holdsOut: true,
  heldOut: undefined,
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

/** Throws GraftError where a bundled file cannot be had or a file is of no kind that is read. */
export async function requestFor(choices: Choices, run: Settings, bundle: Bundle): Promise<OpenRequest> {
  const [model, rows] = await Promise.all([choices.model ?? bundle.model(), rowsFor(choices, bundle)]);
  const train = rows.heldOut ? { eval_steps: EVALUATED_SHARE, ...run.train } : run.train;
  return { model, ...rows, run: { ...run, train }, adapter: choices.adapter };
}

async function rowsFor(choices: Choices, bundle: Bundle): Promise<Pick<OpenRequest, "data" | "heldOut">> {
  const { data, text, split, holdsOut, ownRows } = choices;
  switch (data.kind) {
    case "bundled": {
      const set = bundledSetOf(choices);
      if (!set) throw new DataError("no-such-set", `There is no bundled data set "${data.id}".`);
      const held = heldOutRowsOf(set);
      const [train, heldOut] = await Promise.all([bundle.rows(set.train), held && bundle.rows(held)]);
      return {
        data: set.kind === "chat" ? withOwnRows(train, ownRows) : train,
        heldOut: heldOut || undefined,
      };
    }
    case "written": {
      if (!holdsOut) return { data: rowsFile(text, split), heldOut: undefined };
      const parts = splitRows(text, split);
      return { data: parts.train, heldOut: parts.heldOut };
    }
    case "file": {
      const isText = /\.(txt|md)$/i.test(data.file.name);
      // A text file is taken as written text is; anything else is the worker's to read, or to refuse.
      const rows = isText ? rowsFile(await data.file.text(), split) : data.file;
      return { data: rows, heldOut: choices.heldOut };
    }
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
  return {
    lora: (set?.run.lora as JsonObject | undefined) ?? { r: 8, lora_alpha: 16, target_modules: "all-linear" },
    train,
  };
}
