/**
 * The worker in which chat templates run. They are strangers' programs: it is ended when it has not answered in time,
 * and a new one goes on with the next row.
 */
import { FormatError } from "../base/errors.ts";
import { type ChatAnswer, type ChatRequest, ChatWriter, type TemplateSources } from "./conversation.ts";

/** To the worker: first the templates, then rows. */
export type TemplateCall =
  | { readonly sources: TemplateSources }
  | { readonly requests: readonly ChatRequest[] };
/** From it: that it is ready, why the templates cannot be read, or the next answers in the order of the rows, if any. */
export type TemplateReply =
  | { readonly ready: true }
  | { readonly unreadable: string }
  | { readonly answers: readonly ChatAnswer[] };

/** A worker's two ends, whatever kind of worker it is. */
export interface TemplatePort {
  post(call: TemplateCall): void;
  /** Told each reply, and once if the worker dies by itself. */
  listen(onReply: (reply: TemplateReply) => void, onDeath: (why: string) => void): void;
  terminate(): void;
}

export type StartTemplatePort = () => TemplatePort | Promise<TemplatePort>;

/** The worker's side: what is done with each call. */
export function templateServer(post: (reply: TemplateReply) => void): (call: TemplateCall) => void {
  let writer: ChatWriter | undefined;
  return (call) => {
    if ("sources" in call) {
      try {
        writer = new ChatWriter(call.sources);
        post({ ready: true });
      } catch (thrown) {
        post({ unreadable: thrown instanceof Error ? thrown.message : String(thrown) });
      }
      return;
    }
    let answers: ChatAnswer[] = [];
    let posted = performance.now();
    // Between a row's renderings there may be nothing to tell but that it is still at work.
    const tell = () => {
      if (performance.now() - posted < REPLY_EVERY_MS) return;
      post({ answers });
      answers = [];
      posted = performance.now();
    };
    for (const request of call.requests) {
      const answer = writer!.write(request, tell);
      answers.push(answer);
    }
    if (answers.length > 0) post({ answers });
  };
}

/** For one rendering: a row of many turns takes many. */
const RENDER_MS = 250;
/** So much longer a row has that is asked alone: a machine may be busy with something else. */
const SECOND_CHANCE = 5;
/** So that a worker at work is heard of well before its time is up. */
const REPLY_EVERY_MS = 20;
/** With what went before it unsaid, and the way here. */
const SILENCE_MS = RENDER_MS + 50;
/** A worker's own start, its modules included. */
const START_MS = 20_000;

const SILENT: ChatAnswer = {
  code: "chat-time",
  message: `The chat template was stopped: it did not answer within ${RENDER_MS} ms.`,
};

/** Renders rows in a worker that can be ended. Calls are answered in their order. */
export class TemplateWorker {
  private readonly start: StartTemplatePort;
  private readonly sources: TemplateSources;
  private port: TemplatePort | undefined;
  private onReply: (reply: TemplateReply) => void = () => {};
  private onDeath: (why: string) => void = () => {};
  private turn: Promise<unknown> = Promise.resolve();

  constructor(start: StartTemplatePort, sources: TemplateSources) {
    this.start = start;
    this.sources = sources;
  }

  /**
   * One answer a request, up to the first that takes too long: a template that does not end will not end with the
   * next either. Throws FormatError where the template cannot be read.
   */
  render(requests: readonly ChatRequest[]): Promise<ChatAnswer[]> {
    const answers = this.turn.then(() => this.renderAll(requests));
    this.turn = answers.catch(() => {});
    return answers;
  }

  close(): void {
    this.port?.terminate();
    this.port = undefined;
  }

  private async renderAll(requests: readonly ChatRequest[]): Promise<ChatAnswer[]> {
    const answers: ChatAnswer[] = [];
    // Once one took too long, rows are asked one by one: so the one at fault is found where the worker died, and
    // one that was only slow, since the machine was busy with something else, is asked a second time, with patience.
    let alone = false;
    while (answers.length < requests.length) {
      const { length } = answers;
      const alive = alone
        ? await this.ask(requests.slice(length, length + 1), answers, SECOND_CHANCE * SILENCE_MS)
        : await this.ask(requests.slice(length), answers, SILENCE_MS);
      if (alive) continue;
      if (alone) return [...answers, SILENT];
      alone = true;
    }
    return answers;
  }

  /** Adds the answers that came; false where the worker had to be ended before all were there. */
  private async ask(
    requests: readonly ChatRequest[],
    answers: ChatAnswer[],
    silenceMs: number,
  ): Promise<boolean> {
    const port = this.port ?? (await this.begin());
    const wanted = answers.length + requests.length;
    return this.hear(
      silenceMs,
      () => port.post({ requests }),
      (reply) => {
        if ("answers" in reply) for (const answer of reply.answers) answers.push(answer);
        return answers.length === wanted;
      },
    );
  }

  private async begin(): Promise<TemplatePort> {
    const port = await this.start();
    this.port = port;
    port.listen(
      (reply) => this.onReply(reply),
      (why) => this.onDeath(why),
    );
    let unreadable: string | undefined;
    const alive = await this.hear(
      START_MS,
      () => port.post({ sources: this.sources }),
      (reply) => {
        if ("unreadable" in reply) unreadable = reply.unreadable;
        return true;
      },
    );
    if (alive && unreadable === undefined) return port;
    this.close();
    throw new FormatError(
      "chat-template",
      `The chat template cannot be read: ${(unreadable ?? "reading it took too long").replace(/\.$/, "")}.`,
      "Choose another with chat_template_path, or take the model's files from where they were published once more.",
    );
  }

  /** Waits until `isDone`; false, and the worker ended, where it died or was silent for so long. */
  private hear(
    silenceMs: number,
    begin: () => void,
    isDone: (reply: TemplateReply) => boolean,
  ): Promise<boolean> {
    return new Promise((resolve) => {
      let timer: ReturnType<typeof setTimeout>;
      const finish = (alive: boolean) => {
        clearTimeout(timer);
        this.onReply = () => {};
        this.onDeath = () => {};
        if (!alive) this.close();
        resolve(alive);
      };
      const watch = () => {
        clearTimeout(timer);
        timer = setTimeout(() => finish(false), silenceMs);
      };
      this.onReply = (reply) => (isDone(reply) ? finish(true) : watch());
      this.onDeath = () => finish(false);
      watch();
      begin();
    });
  }
}
