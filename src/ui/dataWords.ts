/** What the page says about rows. */
import type { CutCost } from "../data/cuts.ts";
import type { DataFormat } from "../data/formats/reading.ts";
import type { RowShape } from "../data/shapes.ts";
import type { DataFacts, RunSummary } from "../worker/api.ts";
import { count, counted } from "./format.ts";

export const FORMAT_WORDS: Readonly<Record<DataFormat, string>> = {
  jsonl: "JSON Lines",
  json: "JSON",
  csv: "CSV",
  tsv: "TSV, parted by tabs",
  parquet: "Parquet",
  text: "Text, each file a row",
  "text-lines": "Text, each line a row",
  "text-paragraphs": "Text, parted by blank lines",
};

/** "JSON Lines, conversations: 90 rows to train on, 10 held out." */
export function factsWords({ files, shape, train, heldOut, records }: DataFacts): string {
  const formats = [...new Set(files.map(({ format }) => FORMAT_WORDS[format]))].join(" and ");
  const what = shape ? `${formats}, ${shapeWords(shape)}` : formats;
  if (train === 0) return `${what}: ${counted(records, "row")}.`;
  const held = heldOut === undefined ? "" : `, ${count(heldOut)} held out`;
  return `${what}: ${counted(train, "row")} to train on${held}.`;
}

function shapeWords(shape: RowShape): string {
  switch (shape.kind) {
    case "text":
      return "plain texts";
    case "prompt-completion":
      return "prompts and completions";
    case "messages":
      return "conversations";
    case "instruction":
      return "instructions and outputs";
    case "mapping":
      return "columns as you say";
    default:
      return shape satisfies never;
  }
}

/** "7 rows cut, 3 lose their answer, 2 a part of it." */
export function costWords({ cut, losePart, loseAll }: CutCost): string {
  if (cut === 0) return "No row is cut.";
  const words = [`${counted(cut, "row")} cut`];
  if (loseAll > 0) words.push(`${count(loseAll)} ${loseAll === 1 ? "loses its" : "lose their"} answer`);
  if (losePart > 0 && loseAll > 0) words.push(`${count(losePart)} a part of it`);
  else if (losePart > 0) {
    const [lose, its] = losePart === 1 ? ["loses", "its"] : ["lose", "their"];
    words.push(`${count(losePart)} ${lose} a part of ${its} answer`);
  } else if (loseAll === 0) words.push("no answer with them");
  return `${words.join(", ")}.`;
}

/** What an epoch is, and what packing would make of it. */
export function packingWords({ stepsPerEpoch, rows }: RunSummary, packing: boolean): string {
  const { plain, packed } = stepsPerEpoch;
  const each = (steps: number) =>
    `${counted(steps, "step")} of about ${count(Math.round(rows.tokens / steps))} tokens`;
  const [now, other] = packing ? [packed, plain] : [plain, packed];
  const turned = packing ? "without packing" : "with packing";
  if (plain === packed) return `An epoch is ${each(now)}; packing changes nothing here.`;
  return `An epoch is ${each(now)}; ${turned} it would be ${each(other)}. Fuller steps use a GPU better, and there are fewer of them to learn in.`;
}
