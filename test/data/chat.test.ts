import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { buildChatTemplate, loadChatTemplate, tokenizeChat } from "../../src/data/chat.ts";
import { allocateInputs, capacity, layOut } from "../../src/data/inputs.ts";
import type { Message } from "../../src/data/rows.ts";
import { targetCount, tokenizeRows } from "../../src/data/tokenize.ts";
import { buildTokenizer } from "../../src/data/tokenizer.ts";
import { arraySource, mapFileSet } from "../../src/formats/sources.ts";

const { cases } = JSON.parse(readFileSync(new URL("fixtures/tokenizers.json", import.meta.url), "utf8")) as {
  cases: { name: string; tokenizer: JsonObject; config: JsonObject }[];
};
const { tokenizer: json, config } = cases.find(({ name }) => name === "byte level")!;
const tokenizer = buildTokenizer(json, config);

const CHATML = `{% for message in messages %}<|im_start|>{{ message['role'] }}
{{ message['content'] }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}`;
const chatml = buildChatTemplate(CHATML, tokenizer);
const user = (content: string): Message => ({ role: "user", content });
const assistant = (content: string): Message => ({ role: "assistant", content });

/** What is learnt, as text, a span each. */
function learnt(messages: readonly Message[], template = chatml): string[] {
  const { ids, trained } = tokenizeChat(messages, tokenizer, template);
  const spans: number[][] = [];
  ids.forEach((id, i) => {
    if (!trained[i]) return;
    if (i === 0 || !trained[i - 1]) spans.push([]);
    spans.at(-1)!.push(id);
  });
  return spans.map((span) => tokenizer.decode(span));
}

describe("a conversation", () => {
  it("is what the template makes of it, and each answer is learnt with the token that ends it", () => {
    const messages = [
      user("Who are you?"),
      assistant("I am a tree."),
      user("Since when?"),
      assistant("Always."),
    ];
    const { ids } = tokenizeChat(messages, tokenizer, chatml);
    expect(tokenizer.decode(ids)).toBe(
      "<|im_start|>user\nWho are you?<|im_end|>\n<|im_start|>assistant\nI am a tree.<|im_end|>\n" +
        "<|im_start|>user\nSince when?<|im_end|>\n<|im_start|>assistant\nAlways.<|im_end|>\n",
    );
    expect(learnt(messages)).toEqual(["I am a tree.<|im_end|>", "Always.<|im_end|>"]);
  });

  it("is refused where a later turn changes how an earlier one is written", () => {
    const rewriting = buildChatTemplate(
      "{% for m in messages %}{{ m.role if loop.last else '…' }}: {{ m.content }}\n{% endfor %}",
      tokenizer,
    );
    expect(() => learnt([user("a"), assistant("b"), user("c"), assistant("d")], rewriting)).toThrow(
      /writes turn 2 differently once another follows/,
    );
  });

  it("is refused in the template's own words", () => {
    const strict = buildChatTemplate("{{ raise_exception('Roles must alternate.') }}", tokenizer);
    expect(() => learnt([user("a"), assistant("b")], strict)).toThrow(
      /refuses the turns user, assistant: Roles must alternate\./,
    );
  });
});

describe("a chat template", () => {
  const files = (entries: Record<string, string>) =>
    mapFileSet(
      "model",
      new Map(
        Object.entries(entries).map(([name, text]) => [
          name,
          arraySource(new TextEncoder().encode(text), name),
        ]),
      ),
    );
  const render = async (entries: Record<string, string>) =>
    (await loadChatTemplate(files(entries), tokenizer))?.render([user("hi")], true);

  it("comes from its own file, from the tokenizer's config, or from the one there that is the default", async () => {
    const inConfig = JSON.stringify({ chat_template: "config" });
    expect(await render({ "chat_template.jinja": "file", "tokenizer_config.json": inConfig })).toBe("file");
    expect(await render({ "tokenizer_config.json": inConfig })).toBe("config");
    const several = [
      { name: "tool_use", template: "tools" },
      { name: "default", template: "{{ messages[0].content }}{{ eos_token }}" },
    ];
    expect(await render({ "tokenizer_config.json": JSON.stringify({ chat_template: several }) })).toBe(
      "hi<|endoftext|>",
    );
    expect(await render({ "tokenizer_config.json": "{}" })).toBeUndefined();
  });

  it("that cannot be read is refused", () => {
    expect(() => buildChatTemplate("{% for %}", tokenizer)).toThrow(/The chat template cannot be read/);
  });
});

describe("rows of conversations", () => {
  const options = { eosToken: "<|endoftext|>", vocabSize: 300, maxLength: 1000 };
  const row = (answer: string, line: number) => ({ messages: [user("Who?"), assistant(answer)], line });

  it("count what is learnt, and are left out where the cut leaves nothing of it", () => {
    const whole = tokenizeRows([row("Me.", 1)], tokenizer, { ...options, template: chatml });
    const [first] = whole.rows;
    expect(whole.targets).toBe(targetCount(first!));
    expect(whole.targets).toBe(tokenizer.encodeRendered("Me.<|im_end|>").length);
    const question = tokenizer.encodeRendered(chatml.render([user("Who?")], true)).length;
    const cut = tokenizeRows([row("Me.", 1), { text: "A text.", line: 2 }], tokenizer, {
      ...options,
      maxLength: question,
      template: chatml,
    });
    expect(cut).toMatchObject({ leftOut: 1, cut: 1 });
    expect(cut.rows.map(({ line }) => line)).toEqual([2]);
  });

  it("are refused where the model has no template", () => {
    expect(() => tokenizeRows([row("Me.", 4)], tokenizer, options)).toThrow(
      /Line 4 is a conversation, but the model has no chat template/,
    );
  });

  it("become targets where they are learnt, and nowhere else", () => {
    const masked = { ids: Uint32Array.of(10, 11, 12, 13), trained: Uint8Array.of(1, 0, 1, 1), line: 1 };
    const plain = { ids: Uint32Array.of(20, 21), line: 2 };
    const plan = {
      max_steps: -1,
      num_train_epochs: 1,
      per_device_train_batch_size: 2,
      gradient_accumulation_steps: 1,
      shuffle: false,
      seed: 0,
    };
    const room = capacity([[masked], [plain]], plan);
    expect(room).toEqual({ tokens: 6, targets: 3 });
    const inputs = layOut([masked, plain], allocateInputs(room, []));
    expect(inputs.targets).toBe(3);
    expect([...inputs.targetRow]).toEqual([1, 2, 4]);
    expect([...inputs.targetId]).toEqual([12, 13, 21]);
    expect([...inputs.targetOfToken]).toEqual([-1, 0, 1, -1, 2, -1]);
  });
});
