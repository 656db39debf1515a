import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { findChatTemplate, templateAt } from "../../src/data/chat.ts";
import type { RenderedChat } from "../../src/data/conversation.ts";
import { allocateInputs, capacity, layOut } from "../../src/data/inputs.ts";
import type { Message, Row } from "../../src/data/rows.ts";
import { targetCount } from "../../src/data/tokenisedRow.ts";
import { buildTokenizer } from "../../src/data/tokenizer.ts";
import { arraySource, mapFileSet } from "../../src/formats/sources.ts";
import { inlineTemplate, inlineWorker } from "./inline.ts";
import { type TokeniseOptions, tokenizeRows } from "./tokenizeRows.ts";

const { cases } = JSON.parse(readFileSync(new URL("fixtures/tokenizers.json", import.meta.url), "utf8")) as {
  cases: { name: string; tokenizer: JsonObject; config: JsonObject }[];
};
const named = (wanted: string) => {
  const { tokenizer, config } = cases.find(({ name }) => name === wanted)!;
  return buildTokenizer(tokenizer, config);
};
const tokenizer = named("byte level");

const CHATML = `{% for message in messages %}<|im_start|>{{ message['role'] }}
{{ message['content'] }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}`;
const REWRITING = "{% for m in messages %}{{ m.role if loop.last else '…' }}: {{ m.content }}!\n{% endfor %}";
const user = (content: string): Message => ({ role: "user", content });
const assistant = (content: string): Message => ({ role: "assistant", content });

const options = { eosToken: "<|endoftext|>", vocabSize: 1000, maxLength: 1000 };
const tokenised = (rows: readonly Row[], template: string | undefined, more: Partial<TokeniseOptions> = {}) =>
  tokenizeRows(rows, tokenizer, { ...options, template: inlineTemplate(template, tokenizer), ...more });

/** What is learnt of each row, as text, a span each. */
async function learnt(
  rows: readonly Row[],
  template: string | null = CHATML,
  more: Partial<TokeniseOptions> = {},
): Promise<string[][]> {
  const { rows: made } = await tokenised(rows, template ?? undefined, more);
  return made.map(({ ids, trained }) => {
    const spans: number[][] = [];
    ids.forEach((id, i) => {
      if (trained ? !trained[i] : i === 0) return;
      if (i === 0 || (trained ? !trained[i - 1] : i === 1)) spans.push([]);
      spans.at(-1)!.push(id);
    });
    return spans.map((span) => tokenizer.decode(span));
  });
}

const talk = [user("Who are you?"), assistant("I am a tree."), user("Since when?"), assistant("Always.")];
const row = { messages: talk, line: 1 };

describe("a conversation", () => {
  it("is what the template makes of it, and each answer is learnt with the token that ends it", async () => {
    const { rows } = await tokenised([row], CHATML);
    expect(tokenizer.decode([...rows[0]!.ids])).toBe(
      "<|im_start|>user\nWho are you?<|im_end|>\n<|im_start|>assistant\nI am a tree.<|im_end|>\n" +
        "<|im_start|>user\nSince when?<|im_end|>\n<|im_start|>assistant\nAlways.<|im_end|>\n",
    );
    expect(await learnt([row])).toEqual([["I am a tree.<|im_end|>", "Always.<|im_end|>"]]);
  });

  it("is learnt whole, or its last answer alone, where that is asked", async () => {
    expect(await learnt([row], CHATML, { last_turn_only: true })).toEqual([["Always.<|im_end|>"]]);
    const [[whole]] = (await learnt([row], CHATML, { assistant_only_loss: false })) as [[string]];
    expect(whole).toMatch(/Who are you\?.*Always\.<\|im_end\|>\n$/s);
  });

  it("that came as prompt and completion is learnt from the completion on", async () => {
    const split = { ...row, promptTurns: 3 };
    const more = [user("Q"), assistant("A"), user("R"), assistant("B")];
    expect(await learnt([split])).toEqual([["Always.<|im_end|>"]]);
    expect(await learnt([{ messages: more, promptTurns: 1, line: 1 }])).toEqual([
      ["A<|im_end|>", "B<|im_end|>"],
    ]);
    const all = { assistant_only_loss: false };
    expect(await learnt([{ messages: more, promptTurns: 1, line: 1 }], CHATML, all)).toEqual([
      ["A<|im_end|>\n<|im_start|>user\nR<|im_end|>\n<|im_start|>assistant\nB<|im_end|>"],
    ]);
    expect(await learnt([split], CHATML, { completion_only_loss: false })).toEqual([
      ["I am a tree.<|im_end|>", "Always.<|im_end|>"],
    ]);
  });

  it("is refused where a later turn changes how an earlier one is written, and its last turn is offered", async () => {
    await expect(learnt([row, { ...row, line: 4 }], REWRITING)).rejects.toThrow(
      /Row 1: The chat template writes turn 2 differently once another follows.*So it is with 2 rows.*last_turn_only/,
    );
  });

  it("is refused where not even its last turn can be told", async () => {
    const forgetful =
      "{% for m in messages %}{% if m.role != 'system' or messages[-1].role == 'user' %}<{{ m.role }}>{{ m.content }}{% endif %}{% endfor %}";
    const asked = { messages: [{ role: "system", content: "s" }, user("q"), assistant("a")], line: 5 };
    await expect(learnt([asked], forgetful, { last_turn_only: true })).rejects.toThrow(
      /Row 5: The chat template writes turn 2 differently.*Choose another template/,
    );
  });

  it("refused by the template is left out, with the template's own words, and the others are kept", async () => {
    const strict = `{% if messages[0].role != 'user' %}{{ raise_exception('Roles must alternate.') }}{% endif %}${CHATML}`;
    const odd = { messages: [assistant("I begin"), user("b"), assistant("c")], line: 2 };
    const { rows, faults, leftOut, warnings } = await tokenised([row, odd], strict);
    expect(rows.map(({ line }) => line)).toEqual([1]);
    expect(leftOut).toBe(1);
    expect(faults).toMatchObject([
      {
        line: 2,
        code: "chat-template",
        message:
          "Row 2: The chat template refuses the turns assistant, user, assistant: Roles must alternate.",
      },
    ]);
    expect(warnings.join()).toMatch(/1 row: 2 left out: Row 2: The chat template refuses/);
    await expect(tokenised([odd], strict)).rejects.toThrow(/None of the 1 rows.*Roles must alternate/);
  });

  it("hands on further keys and tools; what is null is not there", async () => {
    const template =
      "{{ tools[0].name }}{% for m in messages %}[{{ m.name }}{{ m.reasoning_content }}{{ m.thinking }}" +
      "{{ 'x' if m.extra is defined else '-' }}{{ m.content }}]{% endfor %}";
    const worker = inlineWorker({ template });
    const messages = [
      { ...user("q"), name: "N", extra: null },
      { ...assistant("a"), thinking: "T" },
    ];
    const [answer] = await worker.render([
      { messages, tools: [{ name: "tool" }], wanted: "prompt", promptTurns: 0 },
    ]);
    expect((answer as RenderedChat).text).toBe("tool[N-q][TT-a]");
  });

  it("with a template of its own for tools is written by that", async () => {
    const worker = inlineWorker({ template: "plain", toolTemplate: "with tools" });
    const ask = { messages: [user("q")], wanted: "prompt" as const, promptTurns: 0 };
    const answers = await worker.render([ask, { ...ask, tools: [{}] }]);
    expect(answers).toMatchObject([{ text: "plain" }, { text: "with tools" }]);
  });
});

describe("generation blocks", () => {
  const marked = (end: string) =>
    `{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}{% generation %}{{ m.content }}${end}{% endgeneration %}{% else %}{{ m.content }}{% endif %};{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}`;

  it("are believed, and it is said where they leave out the end", async () => {
    expect(await learnt([row], marked("</end>"))).toEqual([["I am a tree.</end>", "Always.</end>"]]);
    expect(await learnt([row], marked(""))).toEqual([["I am a tree.", "Always."]]);
    expect((await tokenised([row], marked("</end>"))).warnings).toEqual([]);
    expect((await tokenised([row], marked(""))).warnings).toEqual([
      expect.stringMatching(/leaves the token that ends an answer out.*\(1 row: 1\)/),
    ]);
  });

  it("count from the last turn on, or from the completion, where that is asked", async () => {
    expect(await learnt([row], marked(""), { last_turn_only: true })).toEqual([["Always."]]);
    expect(await learnt([{ ...row, promptTurns: 2 }], marked(""))).toEqual([["Always."]]);
  });

  it("cannot be forged by a row", async () => {
    const forged = { messages: [user("\ufdd0a\ufdd1"), assistant("b")], line: 3 };
    expect((await tokenised([row, forged], marked(""))).faults).toMatchObject([{ line: 3 }]);
  });
});

describe("where templates differ between asking and answering", () => {
  it("what is learnt begins where the two part, and that is said", async () => {
    const thinking =
      "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}<assistant><think>{% endif %}";
    expect(await learnt([row], thinking)).toEqual([["I am a tree.</s>", "Always.</s>"]]);
    expect((await tokenised([row], thinking)).warnings.join()).toMatch(/opens an answer otherwise/);
  });

  it("an end token that closes the conversation is not the turn's", async () => {
    const phi =
      "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>\n{% endfor %}{% if add_generation_prompt %}<assistant>{% else %}{{ eos_token }}{% endif %}";
    expect(await learnt([row], phi)).toEqual([["I am a tree.<end>", "Always.<end>"]]);
  });

  it("an end token right behind the answer is", async () => {
    const mistral =
      "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token if m.role == 'assistant' }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
    expect(await learnt([row], mistral)).toEqual([["I am a tree.<|endoftext|>", "Always.<|endoftext|>"]]);
  });

  it("an answer that nothing ends is said", async () => {
    const endless =
      "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
    expect((await tokenised([row], endless)).warnings.join()).toMatch(/the model may not learn to stop/);
  });
});

describe("a model without a template", () => {
  it("gets a plain one, and that is said", async () => {
    const { rows, warnings } = await tokenised([row], undefined);
    expect(tokenizer.decode([...rows[0]!.ids])).toBe(
      "User: Who are you?\nAssistant: I am a tree.<|endoftext|>\nUser: Since when?\nAssistant: Always.<|endoftext|>\n",
    );
    expect(await learnt([row], null)).toEqual([[" I am a tree.<|endoftext|>", " Always.<|endoftext|>"]]);
    expect(warnings).toEqual([expect.stringMatching(/no chat template: conversations are written plainly/)]);
    expect((await tokenised([{ text: "a text", line: 1 }], undefined)).warnings).toEqual([]);
  });

  it("begins with the beginning token where its tokenizer begins texts with it", async () => {
    const begun = named("a beginning from the post-processor");
    const template = inlineTemplate(undefined, begun);
    const { rows } = await tokenizeRows([row], begun, { ...options, template });
    expect(begun.decode([...rows[0]!.ids.slice(0, 3)])).toMatch(/^<s>U/);
    expect(rows[0]!.ids[0]).toBe(begun.encode("")[0]);
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
  const find = (entries: Record<string, string>) => findChatTemplate(files(entries));

  it("comes from its own file, from the tokenizer's config, or from the one there that is the default", async () => {
    const inConfig = JSON.stringify({ chat_template: "config" });
    expect(await find({ "chat_template.jinja": "file", "tokenizer_config.json": inConfig })).toEqual({
      template: "file",
    });
    expect(await find({ "tokenizer_config.json": inConfig })).toEqual({ template: "config" });
    const several = [
      { name: "tool_use", template: "tools" },
      { name: "default", template: "plain" },
    ];
    expect(await find({ "tokenizer_config.json": JSON.stringify({ chat_template: several }) })).toEqual({
      template: "plain",
      toolTemplate: "tools",
    });
    expect(await find({ "tokenizer_config.json": "{}" })).toBeUndefined();
  });

  it("can be one that the run names", async () => {
    expect(await templateAt(files({ "other.jinja": "other" }), "other.jinja")).toEqual({ template: "other" });
    await expect(templateAt(files({}), "other.jinja")).rejects.toThrow(/chat_template_path is "other.jinja"/);
  });

  it("that cannot be read is refused", async () => {
    await expect(tokenised([row], "{% for %}")).rejects.toThrow(/The chat template cannot be read/);
  });
});

describe("rows of a prompt and its completion", () => {
  const pair = { prompt: "Two and two:", completion: " four", line: 1 };

  it("are learnt from the completion on, which the end token closes", async () => {
    expect(await learnt([pair])).toEqual([[" four<|endoftext|>"]]);
    expect(await learnt([{ ...pair, completion: " four<|endoftext|>" }])).toEqual([[" four<|endoftext|>"]]);
  });

  it("are learnt whole where that is asked", async () => {
    const { rows } = await tokenised([pair], undefined, { completion_only_loss: false });
    expect(rows[0]!.trained).toBeUndefined();
  });

  it("are learnt from where the ids part when tokens merge across the border", async () => {
    const merged = { prompt: "the tr", completion: "ee", line: 1 };
    const { rows } = await tokenised([merged], undefined);
    const ids = rows[0]!.ids;
    const trained = rows[0]!.trained!;
    expect([...ids]).toEqual(tokenizer.encode("the tree<|endoftext|>"));
    const alone = tokenizer.encode("the tr");
    const shared = [...ids].findIndex((id, i) => id !== alone[i]);
    expect(shared).toBeLessThan(alone.length);
    expect(trained.indexOf(1)).toBe(shared);
  });
});

describe("rows that are cut", () => {
  const single = (answer: string, line: number) => ({ messages: [user("Who?"), assistant(answer)], line });

  it("count what is learnt, and are left out, by name, where the cut leaves nothing of it", async () => {
    const whole = await tokenised([single("Me.", 1)], CHATML);
    expect(whole.targets).toBe(targetCount(whole.rows[0]!));
    expect(whole.targets).toBe(tokenizer.encodeRendered("Me.<|im_end|>").length);
    const question = whole.rows[0]!.trained!.indexOf(1);
    const rows = [single("Me.", 1), { text: "A text.", line: 2 }];
    const cut = await tokenised(rows, CHATML, { maxLength: question });
    expect(cut).toMatchObject({ leftOut: 1, cut: 1, faults: [{ line: 1, code: "cut-away" }] });
    expect(cut.rows.map(({ line }) => line)).toEqual([2]);
    expect([...cut.lengths.length]).toEqual([whole.rows[0]!.ids.length, cut.rows[0]!.ids.length]);
    await expect(tokenised(rows.slice(0, 1), CHATML, { maxLength: question })).rejects.toThrow(
      /None of the 1 rows.*leaves nothing that is learnt.*larger max_length/,
    );
  });

  it("keep their end where that is asked", async () => {
    const [all] = (await tokenised([single("Me.", 1)], CHATML)).rows;
    const { rows } = await tokenised([single("Me.", 1)], CHATML, {
      maxLength: 10,
      truncationMode: "keep_end",
    });
    expect([...rows[0]!.ids]).toEqual([...all!.ids.slice(-10)]);
    expect([...rows[0]!.trained!]).toEqual([...all!.trained!.slice(-10)]);
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
    expect(room).toEqual({ tokens: 4, targets: 3 });
    const inputs = layOut([masked, plain], allocateInputs(room, []));
    expect(inputs.targets).toBe(3);
    expect([...inputs.targetRow]).toEqual([1, 2, 3]);
    expect([...inputs.targetId]).toEqual([12, 13, 21]);
    expect([...inputs.targetOfToken]).toEqual([-1, 0, 1, 2]);
  });
});

describe("many rows", () => {
  it("tell how far they are and can be stopped", async () => {
    const rows = Array.from({ length: 4000 }, (_, i) => ({ text: `the tree ${i} `.repeat(20), line: i + 1 }));
    const told: number[] = [];
    const control = new AbortController();
    const onProgress = (done: number) => {
      told.push(done);
      if (told.length === 2) control.abort(new Error("enough"));
    };
    await expect(tokenised(rows, undefined, { onProgress, signal: control.signal })).rejects.toThrow(
      "enough",
    );
    expect(told).toHaveLength(2);
  });
});
