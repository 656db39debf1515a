/**
 * A conversation rendered by a chat template, and which characters of it are learnt. Runs in the templates' worker,
 * so that one trip there and back serves all the renderings that a row takes.
 */
import type { Json } from "../base/json.ts";
import { LimitError } from "./interpreter.ts";
import { TemplateError } from "./python.ts";
import type { Message } from "./rows.ts";
import { holdsMark, Template } from "./template.ts";

/** Everything that decides how conversations are written; plain data, as it goes to the worker. */
export interface TemplateSources {
  readonly template: string;
  /** Where the model has a template of its own for rows with tools. */
  readonly toolTemplate?: string | undefined;
  /** By Transformers' names: bos_token, eos_token, … */
  readonly specialTokens: Readonly<Record<string, string>>;
  /** What strftime_now() tells; in milliseconds of Unix time. */
  readonly now: number;
}

/** "prompt" is what stands before an answer; the others are rows, and what is learnt of them. */
export type Wanted = "prompt" | "everything" | "assistant" | "lastTurn";

export interface ChatRequest {
  readonly messages: readonly Message[];
  readonly tools?: readonly Json[] | undefined;
  readonly wanted: Wanted;
  /** So many turns at the beginning are only read. */
  readonly promptTurns: number;
}

/** What is said about a row that can be trained on all the same. */
export type ChatNote = "no-end-token" | "other-opening";

export interface RenderedChat {
  readonly text: string;
  /** Pairs of places in UTF-16 units between which all is learnt; null where everything is. */
  readonly learnt: readonly number[] | null;
  /** The template's own generation blocks say so: tokens are then chosen as Transformers does. */
  readonly marked: boolean;
  readonly notes: readonly ChatNote[];
}

export interface ChatFault {
  readonly code: "chat-template" | "chat-prefix" | "chat-time" | "chat-size";
  readonly message: string;
}

export type ChatAnswer = RenderedChat | ChatFault;

/** A turn that is written otherwise once another follows it. */
class RewrittenTurn extends Error {}

export class ChatWriter {
  private readonly template: Template;
  private readonly toolTemplate: Template | undefined;
  private readonly specialTokens: Readonly<Record<string, string>>;

  /** Throws what the parser throws where a template cannot be read. */
  constructor({ template, toolTemplate, specialTokens, now }: TemplateSources) {
    this.template = new Template(template, new Date(now));
    this.toolTemplate = toolTemplate === undefined ? undefined : new Template(toolTemplate, new Date(now));
    this.specialTokens = specialTokens;
  }

  /** `onRendering` is called before each of the renderings that a row takes. */
  write(request: ChatRequest, onRendering: () => void = () => {}): ChatAnswer {
    const template = (request.tools && this.toolTemplate) ?? this.template;
    try {
      return new Writing(template, this.specialTokens, request, onRendering).answer();
    } catch (thrown) {
      return faultOf(thrown, request);
    }
  }
}

function faultOf(thrown: unknown, { messages }: ChatRequest): ChatFault {
  const why = (thrown instanceof Error ? thrown.message : String(thrown)).replace(/\.$/, "");
  if (thrown instanceof LimitError) {
    return { code: "chat-size", message: `The chat template was stopped: ${why}.` };
  }
  if (thrown instanceof RewrittenTurn) return { code: "chat-prefix", message: thrown.message };
  if (!(thrown instanceof TemplateError)) throw thrown;
  const turns = messages.map(({ role }) => role).join(", ");
  return { code: "chat-template", message: `The chat template refuses the turns ${turns}: ${why}.` };
}

/** One row, while it is written. */
class Writing {
  private readonly template: Template;
  private readonly request: ChatRequest;
  private readonly onRendering: () => void;
  private readonly messages: readonly Json[];
  private readonly others: Readonly<Record<string, Json>>;
  private readonly eosToken: string;
  private readonly notes = new Set<ChatNote>();

  constructor(
    template: Template,
    specialTokens: Readonly<Record<string, string>>,
    request: ChatRequest,
    onRendering: () => void,
  ) {
    this.template = template;
    this.request = request;
    this.onRendering = onRendering;
    if (template.marksGeneration && holdsMark([...request.messages])) {
      throw new TemplateError("the row holds U+FDD0 or U+FDD1, which no text may");
    }
    this.messages = request.messages.map(asPassedOn);
    this.others = {
      ...specialTokens,
      tools: request.tools ? [...request.tools] : null,
      documents: null,
    };
    this.eosToken = specialTokens.eos_token ?? "";
  }

  answer(): ChatAnswer {
    const { wanted, promptTurns, messages } = this.request;
    if (wanted === "prompt") return this.chat(this.render(messages.length, true).text, null, false);
    const { text, generated } = this.render(messages.length, false);
    if (wanted === "everything") {
      const whole = promptTurns === 0 ? null : [this.startOf(promptTurns, text), text.trimEnd().length];
      return this.chat(text, whole, false);
    }
    const last = messages.findLastIndex(({ role }) => role === "assistant");
    const turns = messages.flatMap(({ role }, i) => (role === "assistant" && i >= promptTurns ? [i] : []));
    if (this.template.marksGeneration) {
      const first = wanted === "lastTurn" ? last : promptTurns;
      return this.chat(text, this.marked(text, generated, first), true);
    }
    const learnt = turns
      .filter((i) => wanted === "assistant" || i === last)
      .flatMap((i) => this.turn(i, text));
    return this.chat(text, learnt, false);
  }

  private chat(text: string, learnt: readonly number[] | null, marked: boolean): RenderedChat {
    return { text, learnt, marked, notes: [...this.notes] };
  }

  private render(turns: number, forAnswer: boolean) {
    this.onRendering();
    return this.template.render({
      ...this.others,
      messages: this.messages.slice(0, turns),
      add_generation_prompt: forAnswer,
    });
  }

  /** From after the generation prompt to the end-of-turn token, as [start, end]. */
  private turn(i: number, text: string): [number, number] {
    const { messages } = this.request;
    const after = i === messages.length - 1 ? text : this.render(i + 1, false).text;
    const end = this.endOf(after, text, i);
    if (end === undefined) throw this.rewritten(i);
    const start = this.startOf(i, text);
    const content = messages[i]!.content.trim();
    if (content && text.slice(start, end).endsWith(content)) this.notes.add("no-end-token");
    return [start, end];
  }

  /** Where turn `i` begins to be learnt: after what stands there when it is asked for. */
  private startOf(i: number, text: string): number {
    const asked = this.render(i, true).text;
    if (text.startsWith(asked)) return asked.length;
    const before = i === 0 ? 0 : this.endOf(this.render(i, false).text, text, i - 1);
    if (before === undefined) throw this.rewritten(i - 1);
    // The prompt for an answer opens it in another way than this answer does (with reasoning, say): as TRL, from where
    // the two part.
    let shared = 0;
    while (shared < asked.length && asked[shared] === text[shared]) shared++;
    if (shared < before) throw this.rewritten(i - 1);
    this.notes.add("other-opening");
    return shared;
  }

  /** Where turn `i` ends in the whole text, `after` being the text up to it; undefined where the two do not agree. */
  private endOf(after: string, text: string, i: number): number | undefined {
    const closed = after.trimEnd();
    if (!this.eosToken || !closed.endsWith(this.eosToken)) {
      return text.startsWith(closed) ? closed.length : undefined;
    }
    // The end token may close the turn or, behind the turn's own end, the conversation. It closes the turn where it
    // stands right behind what was said.
    const bare = closed.slice(0, -this.eosToken.length).trimEnd();
    const said = this.request.messages[i]!.content.trimEnd();
    const closesTurn = said === "" || bare.endsWith(said.slice(-1));
    return (closesTurn ? [closed, bare] : [bare]).find((end) => text.startsWith(end))?.length;
  }

  private rewritten(i: number): RewrittenTurn {
    return new RewrittenTurn(
      `The chat template writes turn ${i + 1} differently once another follows, so what is learnt cannot be told.`,
    );
  }

  /** The generation blocks from turn `first` on. */
  private marked(text: string, generated: readonly number[], first: number): number[] {
    const from = first > 0 ? this.startOf(first, text) : 0;
    const learnt: number[] = [];
    const { messages } = this.request;
    for (let i = 0; i + 1 < generated.length; i += 2) {
      const [start, end] = [generated[i]!, generated[i + 1]!];
      if (end <= from || end <= start) continue;
      learnt.push(start, end);
      const part = text.slice(start, end).trimEnd();
      if (
        messages.some(({ role, content }) => role === "assistant" && content && part.endsWith(content.trim()))
      ) {
        this.notes.add("no-end-token");
      }
    }
    return learnt;
  }
}

/** As Transformers hands a message to the template: without empty keys, reasoning under each of its names. */
function asPassedOn(message: Message): Json {
  const kept = Object.fromEntries(Object.entries(message).filter(([, value]) => value !== null));
  const reasoning = kept.reasoning_content ?? kept.thinking ?? kept.reasoning;
  return reasoning === undefined ? kept : { thinking: reasoning, ...kept, reasoning_content: reasoning };
}
