/** The Modelfile that makes Ollama serve a base with an adapter, and write conversations as the model's template does. */
import type { ChatTemplate } from "./chat.ts";
import type { TextTokenizer } from "./tokenizer.ts";

/** What stands around the turns of a conversation, where the same always does. */
export interface TurnFrames {
  readonly system: Frame;
  /** What comes after it is all that a prompt ends with: an answer begins there. */
  readonly user: Frame;
  readonly assistant: Frame;
  /** A system turn that the template writes where a conversation has none. */
  readonly defaultSystem: string | undefined;
}

/** What stands before and after what is said. */
type Frame = readonly [before: string, after: string];
type Role = "system" | "user" | "assistant";
type Turn = readonly [role: Role, content: string];

/**
 * The frames of a chat template, found by rendering conversations and looking at what stands between the turns; then
 * tried on others. Undefined where the template does more than put frames around turns: no rule is guessed.
 */
export async function turnFrames(
  chat: ChatTemplate,
  tokenizer: Pick<TextTokenizer, "bosToken">,
): Promise<TurnFrames | undefined> {
  const answers = await chat.render(
    CONVERSATIONS.map((turns) => ({
      messages: turns.map(([role, content]) => ({ role, content })),
      wanted: "prompt",
      promptTurns: 0,
    })),
  );
  // llama.cpp and Ollama put the beginning token there themselves.
  const { bosToken } = tokenizer;
  const texts = answers.map((answer) => {
    if (!("text" in answer)) return undefined;
    return bosToken && answer.text.startsWith(bosToken) ? answer.text.slice(bosToken.length) : answer.text;
  });
  const [withSystem, without] = [0, 1].map((i) => between(texts[i], CONVERSATIONS[i]!));
  if (!withSystem || !without) return undefined;
  const frames = framesOf(withSystem, without);
  const holds = (turns: readonly Turn[], i: number) => frames && written(frames, turns) === texts[i];
  return CONVERSATIONS.every(holds) ? frames : undefined;
}

/** The first two are taken apart, all are compared. None has what a template could trim or read. */
const CONVERSATIONS: readonly (readonly Turn[])[] = [
  [
    ["system", "Qs1"],
    ["user", "Qu1"],
    ["assistant", "Qa1"],
    ["user", "Qu2"],
  ],
  [
    ["user", "Qu3"],
    ["assistant", "Qa2"],
    ["user", "Qu4"],
  ],
  [["user", "Qu5"]],
  [
    ["system", "Qs2"],
    ["user", "Qu6"],
  ],
  [
    ["user", "Qu7"],
    ["assistant", "Qa3"],
    ["user", "Qu8"],
    ["assistant", "Qa4"],
    ["user", "Qu9"],
  ],
];

/** What stands before the first turn, between the turns, and behind the last; undefined where a turn is not found once. */
function between(text: string | undefined, turns: readonly Turn[]): string[] | undefined {
  const parts: string[] = [];
  let rest = text;
  for (const [, content] of turns) {
    const split: string[] | undefined = rest?.split(content);
    if (split?.length !== 2) return undefined;
    parts.push(split[0]!);
    rest = split[1];
  }
  return [...parts, rest!];
}

function framesOf(withSystem: readonly string[], without: readonly string[]): TurnFrames | undefined {
  const [systemBefore, systemToUser, userToAnswer, answerToUser, tail] = withSystem as Five;
  const start = without[0]!;
  // What a prompt ends with is where an answer begins: nothing may stand between the two.
  if (userToAnswer !== tail) return undefined;
  const user = (before: string): TurnFrames | undefined => {
    if (!systemToUser.endsWith(before) || !answerToUser.endsWith(before)) return undefined;
    const cut = (text: string) => text.slice(0, text.length - before.length);
    return {
      system: [systemBefore, cut(systemToUser)],
      user: [before, tail],
      assistant: ["", cut(answerToUser)],
      defaultSystem: undefined,
    };
  };
  const plain = user(start);
  if (plain) return plain;
  const said = start.slice(systemBefore.length, start.length - systemToUser.length);
  const hasDefault = said !== "" && start === systemBefore + said + systemToUser;
  const framed = hasDefault ? user("") : undefined;
  return framed && { ...framed, defaultSystem: said };
}

type Five = [string, string, string, string, string];

/** The prompt that frames make of a conversation, as Ollama will write it. */
function written(frames: TurnFrames, turns: readonly Turn[]): string {
  const { defaultSystem } = frames;
  const all: readonly Turn[] =
    defaultSystem === undefined || turns[0]?.[0] === "system" ? turns : [["system", defaultSystem], ...turns];
  return all.map(([role, content]) => frames[role][0] + content + frames[role][1]).join("");
}

/**
 * A Modelfile for `ollama create`. `base` is what Ollama knows the base model by: a name, a GGUF or a folder of
 * safetensors; `adapter` the GGUF beside the Modelfile, where there is one. Without frames Ollama takes the base's template.
 */
export function modelfile(base: string, adapter: string | undefined, frames: TurnFrames | undefined): string {
  const lines = [`FROM ${base}`, ...(adapter === undefined ? [] : [`ADAPTER ./${adapter}`])];
  const framed = frames && Object.values(frames).flat().join("");
  // Neither Ollama's template language nor its quotes can hold their own marks.
  if (framed === undefined || /\{\{|"""/.test(framed)) return `${lines.join("\n")}\n`;
  const { system, user, assistant, defaultSystem } = frames!;
  const turn = (role: Role, [before, after]: Frame) =>
    `if eq .Role "${role}" }}${before}{{ .Content }}${after}{{ `;
  const turns = `${turn("system", system)}else ${turn("user", user)}else ${turn("assistant", assistant)}end }}`;
  lines.push(`TEMPLATE """{{ range .Messages }}{{ ${turns}{{ end }}"""`);
  if (defaultSystem !== undefined) lines.push(`SYSTEM """${defaultSystem}"""`);
  const [endOfTurn] = /^<[^<>\s"]+>/.exec(assistant[1]) ?? [];
  if (endOfTurn !== undefined) lines.push(`PARAMETER stop "${endOfTurn}"`);
  return `${lines.join("\n")}\n`;
}
