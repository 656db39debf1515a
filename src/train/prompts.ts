/** What is asked of a model, as tokens. */
import { DataError } from "../base/errors.ts";
import type { ChatTemplate } from "../data/chat.ts";
import type { Message } from "../data/rows.ts";
import type { TextTokenizer } from "../data/tokenizer.ts";

/** A conversation so far, or the beginning of a text. */
export type Prompt = { readonly messages: readonly Message[] } | { readonly text: string };

/** Throws DataError where the template refuses a conversation. */
export async function promptIds(
  prompts: readonly Prompt[],
  tokenizer: TextTokenizer,
  template: ChatTemplate,
): Promise<Uint32Array[]> {
  const asked = prompts.flatMap((prompt) => ("messages" in prompt ? [prompt.messages] : []));
  const requests = asked.map((messages) => ({ messages, wanted: "prompt" as const, promptTurns: 0 }));
  const answers = requests.length > 0 ? await template.render(requests) : [];
  return prompts.map((prompt) => {
    if ("text" in prompt) return Uint32Array.from(tokenizer.encode(prompt.text));
    const answer = answers.shift()!;
    if ("code" in answer) throw new DataError(answer.code, answer.message, "Ask it otherwise.");
    return Uint32Array.from(tokenizer.encodeRendered(answer.text));
  });
}
