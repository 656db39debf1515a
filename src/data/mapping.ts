/** Columns of any name, made into rows by small templates: {"user": "{question}", "assistant": "{answer}"}. */
import { ConfigError, DataError } from "../base/errors.ts";
import { type Json, type JsonObject, show } from "../base/json.ts";
import { nearestName } from "../base/nearest.ts";
import { RowFault } from "./faults.ts";
import type { Row } from "./rows.ts";

/** What each part of a row is made of. `{column}` stands for a row's value, `{{` and `}}` for braces. */
export type ColumnMapping =
  | { readonly text: string }
  | { readonly prompt: string; readonly completion: string }
  | { readonly system?: string; readonly user: string; readonly assistant: string };

const PARTS: readonly (readonly string[])[] = [
  ["text"],
  ["prompt", "completion"],
  ["user", "assistant"],
  ["system", "user", "assistant"],
];
const KINDS =
  '{"text"}, {"prompt", "completion"} or {"system", "user", "assistant"}, of which system may be left out';

/** Checks a mapping; `path` is where it stands. Throws ConfigError. */
export function parseMapping(given: JsonObject, path = "column_mapping"): ColumnMapping {
  const keys = Object.keys(given);
  const isKnown = PARTS.some(
    (parts) => parts.length === keys.length && parts.every((part) => keys.includes(part)),
  );
  if (!isKnown) {
    const found = keys.length === 0 ? "no part" : `the parts ${keys.map(show).join(", ")}`;
    throw new ConfigError("mapping", `${path} has ${found}, expected ${KINDS}.`);
  }
  for (const [part, template] of Object.entries(given)) {
    if (typeof template !== "string") {
      throw new ConfigError("mapping", `${path}.${part} is ${show(template)}, expected a text.`);
    }
    const { columns } = parseTemplate(template, `${path}.${part}`);
    // What the user or the assistant says is not the same in every row.
    if (columns.length > 0 || part === "system") continue;
    const found = `${path}.${part} is ${show(template)}, which names no column.`;
    const example = `{${template.trim() || "question"}}`;
    throw new ConfigError("mapping", found, `Write the column's name in braces, such as ${show(example)}.`);
  }
  return given as unknown as ColumnMapping;
}

interface Template {
  /** Texts that stand between the columns, one more than there are columns. */
  readonly texts: readonly string[];
  readonly columns: readonly string[];
}

function parseTemplate(template: string, path: string): Template {
  const texts: string[] = [];
  const columns: string[] = [];
  let text = "";
  for (const [piece, column] of template.matchAll(/\{\{|\}\}|\{([^{}]+)\}|[^{}]+|[{}]/g)) {
    if (column !== undefined) {
      columns.push(column);
      texts.push(text);
      text = "";
    } else if (piece === "{" || piece === "}") {
      const found = `${path} is ${show(template)}, with a ${piece} that stands alone.`;
      throw new ConfigError("mapping", found, "Write {column} for a column, {{ and }} for braces.");
    } else text += piece === "{{" || piece === "}}" ? piece[0] : piece;
  }
  texts.push(text);
  return { texts, columns };
}

/** How a mapping makes a row of a file's columns. Throws DataError where it names a column that none of them is. */
export function rowMaker(
  mapping: ColumnMapping,
  columns: readonly string[],
  fileName: string,
): (values: JsonObject, line: number) => Row {
  const parts = Object.entries(mapping).map(([part, source]) => {
    const template = parseTemplate(source, `column_mapping.${part}`);
    for (const column of template.columns) {
      if (!columns.includes(column)) throw unknownColumn(column, part, columns, fileName);
    }
    return [part, template] as const;
  });
  return (values, line) => {
    const filled = new Map(parts.map(([part, template]) => [part, fill(template, values)]));
    const of = (part: string) => filled.get(part) ?? "";
    if ("text" in mapping) return { text: of("text"), line };
    if ("prompt" in mapping) return { prompt: of("prompt"), completion: of("completion"), line };
    // A column that is empty in some rows leaves the space around it behind.
    const messages = ["system", "user", "assistant"].map((role) => ({ role, content: of(role).trim() }));
    if (messages[0]!.content === "") messages.shift();
    return { messages, line };
  };
}

/** The columns that a mapping uses. */
export function mappedColumns(mapping: ColumnMapping): string[] {
  return Object.entries(mapping).flatMap(
    ([part, template]) => parseTemplate(template, `column_mapping.${part}`).columns,
  );
}

function fill({ texts, columns }: Template, values: JsonObject): string {
  return columns.reduce((text, column, i) => text + textOf(values, column) + texts[i + 1]!, texts[0]!);
}

function textOf(values: JsonObject, column: string): string {
  if (!Object.hasOwn(values, column)) throw new RowFault("row-column", ` has no ${show(column)}.`);
  const value: Json = values[column]!;
  if (value === null) return "";
  if (typeof value !== "object") return String(value);
  throw new RowFault("row-column", ` has ${show(column)}: ${show(value)}, expected a text or a number.`);
}

function unknownColumn(
  column: string,
  part: string,
  columns: readonly string[],
  fileName: string,
): DataError {
  const first = columns.slice(0, 20);
  const nearest = nearestName(column, first);
  const names = first.map(show).join(", ") + (columns.length > first.length ? ", …" : "");
  return new DataError(
    "unknown-column",
    `column_mapping.${part} names the column ${show(column)}, which ${fileName} does not have.`,
    `Its columns are ${names}.${nearest === undefined ? "" : ` Is ${show(nearest)} meant?`}`,
  );
}

/** Names that people give to columns, the likeliest first; compared without case, spaces and underscores. */
const QUESTIONS = [
  "question",
  "query",
  "instruction",
  "prompt",
  "input",
  "user",
  "human",
  "frage",
  "pregunta",
  "source",
];
const ANSWERS = [
  "answer",
  "response",
  "output",
  "completion",
  "reply",
  "assistant",
  "bot",
  "antwort",
  "respuesta",
  "target",
];
const CONTEXTS = ["context", "passage", "kontext"];
const SYSTEMS = ["system", "systemprompt"];
const TEXTS = ["text", "content", "body", "document", "story", "article"];

/** What the columns probably are; undefined where that is unsure. */
export function guessMapping(columns: readonly string[]): ColumnMapping | undefined {
  // A template cannot name a column with braces in it.
  const usable = columns.filter((column) => !/[{}]/.test(column));
  const find = (names: readonly string[]): string | undefined => {
    return names
      .map((name) => usable.find((column) => plain(column) === name))
      .find((found) => found !== undefined);
  };
  const question = find(QUESTIONS);
  const answer = find(ANSWERS);
  if (question !== undefined && answer !== undefined) {
    const context = find(CONTEXTS);
    const system = find(SYSTEMS);
    return {
      ...(system === undefined ? {} : { system: `{${system}}` }),
      user: context === undefined ? `{${question}}` : `{${context}}\n\n{${question}}`,
      assistant: `{${answer}}`,
    };
  }
  if (question !== undefined || answer !== undefined) return undefined;
  const text = find(TEXTS) ?? (columns.length === 1 ? usable[0] : undefined);
  return text === undefined ? undefined : { text: `{${text}}` };
}

function plain(column: string): string {
  const letters = column.toLowerCase().replace(/[\s_-]/g, "");
  // Of a question or several: questions, answers.
  return letters.replace(/s$/, "");
}
