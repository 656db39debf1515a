/** A model's chat template: where it comes from, and conversations written by it in a worker of its own. */
import type { FileSet } from "../base/bytes.ts";
import { ConfigError } from "../base/errors.ts";
import { isJsonObject, type JsonObject } from "../base/json.ts";
import { readJsonObject } from "../base/read-json.ts";
import type { ChatAnswer, ChatRequest } from "./conversation.ts";
import { type StartTemplatePort, TemplateWorker } from "./templateWorker.ts";
import type { TextTokenizer } from "./tokenizer.ts";

/** A template as it was found. */
export interface FoundTemplate {
  readonly template: string;
  /** For rows with tools, where there is one of its own. */
  readonly toolTemplate?: string | undefined;
}

export interface ChatTemplate {
  /** The model has none: this is Graft's own plain way of writing a conversation. */
  readonly isDefault: boolean;
  readonly source: FoundTemplate;
  /** One answer a request, up to the first that takes too long. Throws FormatError where the template cannot be read. */
  render(requests: readonly ChatRequest[]): Promise<ChatAnswer[]>;
  /** Ends the worker; it starts anew when something is rendered again. */
  close(): void;
}

/** The template of a tokenizer's folder, or undefined where it has none. Throws FormatError where a file is broken. */
export async function findChatTemplate(files: FileSet): Promise<FoundTemplate | undefined> {
  const text = async (name: string): Promise<string | undefined> => {
    const source = files.open(name);
    return source && new TextDecoder().decode(await source.read(0, source.size));
  };
  const own = await text("chat_template.jinja");
  const forTools = await text("additional_chat_templates/tool_use.jinja");
  if (own !== undefined) return { template: own, toolTemplate: forTools };
  const config = files.open("tokenizer_config.json");
  return config && templateOf(await readJsonObject(config));
}

/** The template that `chat_template_path` names in a folder. Throws ConfigError where there is no such file. */
export async function templateAt(files: FileSet, path: string): Promise<FoundTemplate> {
  const source = files.open(path);
  if (source) return { template: new TextDecoder().decode(await source.read(0, source.size)) };
  throw new ConfigError(
    "chat-template",
    `train.chat_template_path is "${path}", and ${files.label} has no such file.`,
    "Put the template into the model's folder, or leave the key out.",
  );
}

function templateOf({ chat_template: found }: JsonObject): FoundTemplate | undefined {
  if (typeof found === "string") return { template: found };
  if (!Array.isArray(found)) return undefined;
  // Some models have several, by name.
  const named = (wanted: string) => found.filter(isJsonObject).find(({ name }) => name === wanted)?.template;
  const [template, toolTemplate] = [named("default"), named("tool_use")];
  if (typeof template !== "string") return undefined;
  return { template, toolTemplate: typeof toolTemplate === "string" ? toolTemplate : undefined };
}

export function chatTemplate(
  found: FoundTemplate | undefined,
  tokenizer: TextTokenizer,
  start: StartTemplatePort,
  now = Date.now(),
): ChatTemplate {
  const source = found ?? plainTemplate(tokenizer);
  const worker = new TemplateWorker(start, {
    ...source,
    specialTokens: tokenizer.specialTokens,
    now,
  });
  return {
    isDefault: found === undefined,
    source,
    render: (requests) => worker.render(requests),
    close: () => worker.close(),
  };
}

/**
 * How a conversation is written where the model knows no way of its own: names before the turns, the end token behind
 * each answer. ChatML and its like need tokens that such a model has never seen; these words it has. The beginning
 * token stands there only where the tokenizer begins a text with it.
 */
function plainTemplate(tokenizer: TextTokenizer): FoundTemplate {
  const { bosToken } = tokenizer;
  const begins = bosToken !== undefined && tokenizer.encode("a")[0] === tokenizer.encodeRendered(bosToken)[0];
  return { template: (begins ? "{{ bos_token }}" : "") + PLAIN };
}

const PLAIN = `{% for message in messages -%}
{{ message.role | capitalize }}: {{ message.content | trim }}
{%- if message.role == "assistant" %}{{ eos_token }}{% endif %}

{% endfor %}
{% if add_generation_prompt %}Assistant:{% endif %}`;
