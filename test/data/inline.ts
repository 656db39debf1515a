/** The templates' worker in this very thread: for tests that are about what it answers, not how it is stopped. */
import { chatTemplate } from "../../src/data/chat.ts";
import type { TemplateSources } from "../../src/data/conversation.ts";
import {
  type StartTemplatePort,
  type TemplateReply,
  TemplateWorker,
  templateServer,
} from "../../src/data/templateWorker.ts";
import type { TextTokenizer } from "../../src/data/tokenizer.ts";

export const startInline: StartTemplatePort = () => {
  let tell: (reply: TemplateReply) => void = () => {};
  const serve = templateServer((reply) => tell(structuredClone(reply)));
  return {
    post: (call) => queueMicrotask(() => serve(structuredClone(call))),
    listen: (onReply) => {
      tell = onReply;
    },
    terminate() {},
  };
};

export function inlineWorker(sources: Partial<TemplateSources> & { template: string }): TemplateWorker {
  return new TemplateWorker(startInline, { specialTokens: {}, now: 0, ...sources });
}

export function inlineTemplate(template: string | undefined, tokenizer: TextTokenizer) {
  return chatTemplate(template === undefined ? undefined : { template }, tokenizer, startInline, 0);
}
