/** Holds published chat templates against what Transformers made of them, and writes docs/chat-templates.md's table. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { JsonObject } from "../../src/base/json.ts";
import { startTemplateThread } from "../../src/cli/templates.ts";
import type { ChatAnswer, RenderedChat, Wanted } from "../../src/data/conversation.ts";
import { learntTokens, markedTokens } from "../../src/data/masks.ts";
import type { Message } from "../../src/data/rows.ts";
import { TemplateWorker } from "../../src/data/templateWorker.ts";
import { buildTokenizer } from "../../src/data/tokenizer.ts";

interface Conversation {
  messages: Message[];
  tools?: JsonObject[];
}

/** What Transformers gave (reference/published_templates.py). */
interface Expected {
  error?: string;
  /** The conversation is rendered, but not the turns before an answer. */
  prefix_error?: string;
  text: string;
  asked: string;
  ids: number[];
  learnt: string | null;
  last?: string | null;
}

const [folder, ...flags] = process.argv.slice(2) as [string, ...string[]];
const { now, special, added, conversations, results } = JSON.parse(
  readFileSync(join(folder, "expected.json"), "utf8"),
) as {
  now: string;
  special: Record<string, string>;
  added: JsonObject[];
  conversations: Conversation[];
  results: Record<string, Expected[]>;
};
const written = JSON.parse(readFileSync("public/model/tokenizer.json", "utf8")) as JsonObject & {
  added_tokens: JsonObject[];
};
const tokenizer = buildTokenizer({ ...written, added_tokens: [...written.added_tokens, ...added] }, special);

function tokensOf({ text, learnt, marked }: RenderedChat): { ids: number[]; learnt: string } {
  const encoded = tokenizer.locateRendered(text);
  const choose = marked ? markedTokens : learntTokens;
  return { ids: encoded.ids, learnt: choose(text, encoded, learnt ?? [], tokenizer).join("") };
}

interface Verdict {
  /** Conversations that Transformers renders, and of these the ones that Graft renders to the same text and ids. */
  readonly rendered: number;
  readonly same: number;
  readonly learns: string;
  readonly remarks: readonly string[];
  readonly wrong: readonly string[];
}

async function judge(name: string, expected: readonly Expected[]): Promise<Verdict> {
  const template = readFileSync(join(folder, "templates", name), "utf8");
  const worker = new TemplateWorker(startTemplateThread, {
    template,
    specialTokens: special,
    now: new Date(now).getTime(),
  });
  const ask = (wanted: Wanted): Promise<ChatAnswer[]> =>
    worker.render(
      conversations.map(({ messages, tools }) => ({
        messages: wanted === "prompt" ? messages.slice(0, -1) : messages,
        tools,
        wanted,
        promptTurns: 0,
      })),
    );
  const [whole, asked, turns, last] = await Promise.all([
    ask("everything"),
    ask("prompt"),
    ask("assistant"),
    ask("lastTurn"),
  ]);
  worker.close();

  const wrong: string[] = [];
  const refusals: string[] = [];
  const remarks = new Set<string>();
  const counts = { rendered: 0, same: 0, turns: 0, last: 0, neither: 0 };
  expected.forEach((want, i) => {
    const differs = (what: string) => void wrong.push(`${name}, conversation ${i + 1}: ${what}`);
    const [text, prompt] = [whole[i]!, asked[i]!];
    if (want.error !== undefined) {
      if (!("code" in text) && !("code" in prompt))
        differs(`rendered, though Transformers says: ${want.error}`);
      return;
    }
    counts.rendered++;
    const mask = turns[i]!;
    const end = last[i]!;
    const refusal = [text, prompt].find((answer) => "code" in answer && answer.code === "chat-template");
    if (refusal && "code" in refusal) {
      refusals.push(refusal.message.replace(/^The chat template refuses the turns .*?: (.*)\.$/s, "$1"));
      return;
    }
    if ("code" in text || "code" in prompt || text.text !== want.text || prompt.text !== want.asked) {
      differs("code" in text ? text.message : "code" in prompt ? prompt.message : "another text");
      return;
    }
    if (JSON.stringify(tokenizer.locateRendered(text.text).ids) !== JSON.stringify(want.ids)) {
      differs("other ids");
      return;
    }
    counts.same++;
    for (const note of "notes" in mask ? mask.notes : []) remarks.add(NOTES[note]);
    if (want.prefix_error !== undefined) {
      if (!("code" in mask)) differs(`a mask, though Transformers says: ${want.prefix_error}`);
      counts.neither++;
      return;
    }
    const found = "code" in mask ? null : tokensOf(mask).learnt;
    if (found !== want.learnt) differs("code" in mask ? mask.message : "other tokens are learnt");
    const foundLast = "code" in end ? null : tokensOf(end).learnt;
    if (want.last !== undefined && foundLast !== want.last) {
      differs("code" in end ? end.message : "other tokens of the last turn are learnt");
    }
    if (found !== null) counts.turns++;
    else if (foundLast !== null) counts.last++;
    else counts.neither++;
  });
  if (template.includes("endgeneration")) remarks.add("marks generation");
  const refused = expected.find(({ error }) => error !== undefined)?.error;
  if (refused !== undefined) {
    const count = expected.length - counts.rendered;
    remarks.add(`refuses ${count}: ${shortened(refused)}`);
  }
  if (refusals.length > 0) remarks.add(`refused here ${refusals.length}: ${shortened(refusals[0]!)}`);
  return {
    rendered: counts.rendered,
    same: counts.same,
    learns: learnsOf(counts),
    remarks: [...remarks],
    wrong,
  };
}

const NOTES = {
  "no-end-token": "an answer's end token is not learnt",
  "other-opening": "asks for an answer otherwise than it writes one",
} as const;

function learnsOf({ turns, last, neither }: { turns: number; last: number; neither: number }): string {
  const parts = [
    ...(turns > 0 ? [last + neither > 0 ? `every turn in ${turns}` : "every turn"] : []),
    ...(last > 0 ? [`the last turn alone in ${last}`] : []),
    ...(neither > 0 ? [`cannot be told in ${neither}`] : []),
  ];
  return parts.join(", ") || "refused";
}

function shortened(message: string): string {
  const line = message.replace(/\s+/g, " ").replaceAll("|", "\\|").trim();
  return line.length > 90 ? `${line.slice(0, 87)}…` : line;
}

const verdicts: [string, Verdict][] = [];
for (const [name, expected] of Object.entries(results)) verdicts.push([name, await judge(name, expected)]);

const table = [
  "| template | text, prompt and ids equal | learnt | remarks |",
  "|---|---|---|---|",
  ...verdicts.map(
    ([name, { rendered, same, learns, remarks }]) =>
      `| ${name.replace(/\.jinja$/, "")} | ${same} of ${rendered} | ${learns} | ${remarks.join("; ")} |`,
  ),
].join("\n");

const wrong = verdicts.flatMap(([, verdict]) => verdict.wrong);
for (const line of wrong) console.log(line);
const page = "docs/chat-templates.md";
const marks = /(<!-- published -->\n)[\s\S]*(<!-- \/published -->)/;
const before = readFileSync(page, "utf8");
const after = before.replace(marks, `$1${table}\n$2`);
if (flags.includes("--write")) writeFileSync(page, after);
else if (after !== before) console.log(`${page} says something else: run npm run test:templates -- --write.`);
console.log(`${verdicts.length} templates, ${wrong.length} differences from Transformers`);
process.exitCode = wrong.length > 0 || (after !== before && !flags.includes("--write")) ? 1 : 0;
process.exit();
