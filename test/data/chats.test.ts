/** Chat templates of twelve kinds against Transformers: text, ids, and which are learnt (reference/chat_dump.py). */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import type { ChatAnswer, RenderedChat, Wanted } from "../../src/data/conversation.ts";
import { learntTokens, markedTokens } from "../../src/data/masks.ts";
import type { Message } from "../../src/data/rows.ts";
import { buildTokenizer } from "../../src/data/tokenizer.ts";
import { inlineWorker } from "./inline.ts";

interface Conversation {
  messages: Message[];
  tools?: JsonObject[];
}

interface Case {
  error?: string;
  text: string;
  /** With all turns but the last, and the prompt for it. */
  asked: string;
  ids: number[];
  /** A digit for each token. */
  learnt: string;
  answers: number;
}

const packed = readFileSync(new URL("fixtures/chats.json.gz", import.meta.url));
const fixture = JSON.parse(gunzipSync(packed).toString()) as {
  now: string;
  special: Record<string, string>;
  added: JsonObject[];
  conversations: Conversation[];
  families: Record<string, Case[]>;
  many: { conversations: Conversation[]; digests: string[] };
};
const source = (name: string) =>
  readFileSync(new URL(`../../reference/templates/${name}.jinja`, import.meta.url), "utf8");
const written = JSON.parse(
  readFileSync(new URL("../../public/model/tokenizer.json", import.meta.url), "utf8"),
) as JsonObject & { added_tokens: JsonObject[] };
const tokenizer = buildTokenizer(
  { ...written, added_tokens: [...written.added_tokens, ...fixture.added] },
  fixture.special,
);

async function answersOf(
  name: string,
  conversations: readonly Conversation[],
  wanted: Wanted,
): Promise<ChatAnswer[]> {
  const worker = inlineWorker({
    template: source(name),
    specialTokens: fixture.special,
    now: new Date(fixture.now).getTime(),
  });
  return worker.render(
    conversations.map(({ messages, tools }) => ({
      messages: wanted === "prompt" ? messages.slice(0, -1) : messages,
      tools,
      wanted,
      promptTurns: 0,
    })),
  );
}

function tokensOf({ text, learnt, marked }: RenderedChat): { ids: number[]; learnt: string } {
  const encoded = tokenizer.locateRendered(text);
  const choose = marked ? markedTokens : learntTokens;
  return { ids: encoded.ids, learnt: choose(text, encoded, learnt ?? [], tokenizer).join("") };
}

/** The last stretch of learnt tokens alone. */
const lastOf = (learnt: string): string => {
  const start = learnt.replace(/0*$/, "").lastIndexOf("01") + 1;
  return "0".repeat(start) + learnt.slice(start);
};

/** Qwen 3 leaves the reasoning out of an answer once another follows, and puts an empty one into the last. */
const REWRITES = new Set(["qwen3"]);

describe.each(Object.entries(fixture.families))("%s", (name, cases) => {
  it("writes conversations, and prompts, as Transformers does", async () => {
    const whole = await answersOf(name, fixture.conversations, "everything");
    const asked = await answersOf(name, fixture.conversations, "prompt");
    cases.forEach((expected, i) => {
      if (expected.error === undefined) {
        expect(whole[i]).toMatchObject({ text: expected.text, learnt: null });
        expect(asked[i]).toMatchObject({ text: expected.asked });
        return;
      }
      const own = expected.error.split(" and ")[0]!;
      expect(whole[i]).toMatchObject({ code: "chat-template", message: expect.stringContaining(own) });
    });
  });

  it("learns the assistant's turns with the tokens that end them, and nothing else", async () => {
    const answers = await answersOf(name, fixture.conversations, "assistant");
    cases.forEach((expected, i) => {
      if (expected.error !== undefined) return;
      const answer = answers[i]!;
      if (REWRITES.has(name) && expected.answers > 1) {
        expect(answer).toMatchObject({ code: "chat-prefix" });
        return;
      }
      expect(answer).not.toHaveProperty("code");
      expect(tokensOf(answer as RenderedChat)).toEqual({ ids: expected.ids, learnt: expected.learnt });
    });
  });

  it("learns the last turn alone where that is asked", async () => {
    const answers = await answersOf(name, fixture.conversations, "lastTurn");
    cases.forEach((expected, i) => {
      if (expected.error !== undefined) return;
      expect(tokensOf(answers[i] as RenderedChat).learnt).toBe(lastOf(expected.learnt));
    });
  });
});

describe("SmolLM2's own template", () => {
  it("gives the same text, prompt, ids and mask as Transformers on 200 conversations", async () => {
    const { conversations, digests } = fixture.many;
    const answers = await answersOf("smollm2", conversations, "assistant");
    const asked = await answersOf("smollm2", conversations, "prompt");
    expect(answers).toHaveLength(200);
    const found = answers.map((answer, i) => {
      const chat = answer as RenderedChat;
      const { ids, learnt } = tokensOf(chat);
      const json = JSON.stringify([chat.text, (asked[i] as RenderedChat).text, ids, learnt]);
      return createHash("sha256").update(json).digest("hex").slice(0, 16);
    });
    expect(found).toEqual(digests);
  });
});
