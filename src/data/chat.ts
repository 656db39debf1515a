/** Conversations as a model reads them: rendered by its own chat template, the assistant's turns marked as learnt. */
import { Template } from "@huggingface/jinja";
import type { FileSet } from "../base/bytes.ts";
import { DataError, FormatError } from "../base/errors.ts";
import { isJsonObject, type JsonObject } from "../base/json.ts";
import { readJsonObject } from "../base/read-json.ts";
import type { Message } from "./rows.ts";
import type { TextTokenizer } from "./tokenizer.ts";

export interface ChatTemplate {
  /** `forAnswer` ends with what stands before an answer, as `add_generation_prompt` does. */
  render(messages: readonly Message[], forAnswer: boolean): string;
}

/** The template of a checkpoint's folder, or undefined where it has none. Throws FormatError where it is broken. */
export async function loadChatTemplate(
  files: FileSet,
  tokenizer: TextTokenizer,
): Promise<ChatTemplate | undefined> {
  const own = files.open("chat_template.jinja");
  const config = files.open("tokenizer_config.json");
  const source = own
    ? new TextDecoder().decode(await own.read(0, own.size))
    : templateOf(config ? await readJsonObject(config) : {});
  return source === undefined ? undefined : buildChatTemplate(source, tokenizer);
}

export function buildChatTemplate(
  source: string,
  { bosToken, eosToken }: Pick<TextTokenizer, "bosToken" | "eosToken">,
): ChatTemplate {
  let template: Template;
  try {
    template = new Template(source);
  } catch (thrown) {
    throw new FormatError("chat-template", `The chat template cannot be read: ${messageOf(thrown)}.`, REMEDY);
  }
  return {
    render(messages, forAnswer) {
      try {
        return template.render({
          messages,
          add_generation_prompt: forAnswer,
          bos_token: bosToken ?? "",
          eos_token: eosToken ?? "",
        });
      } catch (thrown) {
        const turns = messages.map(({ role }) => role).join(", ");
        throw new DataError(
          "chat-template",
          `The chat template refuses the turns ${turns}: ${messageOf(thrown)}.`,
          "Change the rows to what the template takes, or give them as text.",
        );
      }
    },
  };
}

/**
 * Ids of a conversation, and which of them are learnt: each answer of the assistant from after the generation prompt to
 * its end-of-turn token; white space after that is not. Throws DataError where the template writes a turn differently
 * once another follows: what is learnt could then not be told.
 */
export function tokenizeChat(
  messages: readonly Message[],
  tokenizer: TextTokenizer,
  template: ChatTemplate,
): { ids: number[]; trained: Uint8Array } {
  const ids = tokenizer.encodeRendered(template.render(messages, false));
  const trained = new Uint8Array(ids.length);
  messages.forEach(({ role }, i) => {
    if (role !== "assistant") return;
    const before = tokenizer.encodeRendered(template.render(messages.slice(0, i), true));
    const after = tokenizer.encodeRendered(template.render(messages.slice(0, i + 1), false).trimEnd());
    if (!startsWith(ids, before) || !startsWith(ids, after)) {
      throw new DataError(
        "chat-prefix",
        `The chat template writes turn ${i + 1} differently once another follows, so what is learnt cannot be told.`,
        "Give conversations of one question and one answer.",
      );
    }
    trained.fill(1, before.length, after.length);
  });
  return { ids, trained };
}

const REMEDY = "Take the model's files from where they were published once more.";

function templateOf(config: JsonObject): string | undefined {
  const { chat_template: found } = config;
  if (typeof found === "string") return found;
  if (!Array.isArray(found)) return undefined;
  // Some models have several, by name.
  const named = found.filter(isJsonObject).find(({ name }) => name === "default");
  return typeof named?.template === "string" ? named.template : undefined;
}

function startsWith(ids: readonly number[], prefix: readonly number[]): boolean {
  return prefix.length <= ids.length && prefix.every((id, i) => id === ids[i]);
}

function messageOf(thrown: unknown): string {
  return (thrown instanceof Error ? thrown.message : String(thrown)).replace(/\.$/, "");
}
