/** Chat templates in Node's thread: what does not end, or makes more than fits, is stopped, and all else goes on. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { openChatTemplate, startTemplateThread } from "../../src/cli/templates.ts";
import type { ChatRequest } from "../../src/data/conversation.ts";
import {
  type TemplatePort,
  type TemplateReply,
  TemplateWorker,
  templateServer,
} from "../../src/data/templateWorker.ts";

afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

const ask = (content: string): ChatRequest => ({
  messages: [{ role: "user", content }],
  wanted: "prompt",
  promptTurns: 0,
});
const inThread = (template: string) =>
  new TemplateWorker(startTemplateThread, { template, specialTokens: {}, now: 0 });
/** The template goes wrong on the second of three rows. */
const onSecond = (trouble: string) =>
  inThread(`{% if messages[0].content == "bad" %}${trouble}{% endif %}fine`);
/** Lists in lists, as JSON: a single call that writes nothing until it ends. */
const ENDLESS =
  "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l | tojson }}";
const LOOPS = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
const DOUBLING =
  "{% set ns = namespace(s='0123456789') %}{% for i in range(30) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}";

describe("a template in its thread", () => {
  it.each([
    ["loops without end", LOOPS, "chat-time", /did not answer within 250 ms/],
    ["hangs in one call", ENDLESS, "chat-time", /did not answer within 250 ms/],
    ["makes 10 GB of text", DOUBLING, "chat-size", /a text of more than 1000000 characters/],
    [
      "writes 100 MB",
      `{% set text = range(10000) | join('0123456789') %}{% for a in range(1000) %}{{ text }}{% endfor %}`,
      "chat-size",
      /1000000 characters/,
    ],
    [
      "makes a list of a billion",
      "{% for a in range(1000000000) %}x{% endfor %}",
      "chat-size",
      /1000000000 numbers/,
    ],
    ["calls itself", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "chat-size", /calls itself/],
  ])("that %s is stopped, and goes on with another row", async (_, trouble, code, says) => {
    const worker = onSecond(trouble);
    const answers = await worker.render([ask("good"), ask("bad"), ask("good")]);
    expect(answers[0]).toMatchObject({ text: "fine" });
    expect(answers[1]).toMatchObject({ code, message: expect.stringMatching(says) });
    // One that takes too much time is not asked for the rows behind.
    expect(answers.length).toBe(code === "chat-time" ? 2 : 3);
    expect(await worker.render([ask("good")])).toMatchObject([{ text: "fine" }]);
    worker.close();
  });

  it("answers as many rows as it is asked, in their order, and again after it was closed", async () => {
    const worker = inThread("{{ messages[0].content }}");
    const texts = Array.from({ length: 1000 }, (_, i) => `row ${i}`);
    const [first, second] = await Promise.all([
      worker.render(texts.map(ask)),
      worker.render([ask("another")]),
    ]);
    expect(first.map((answer) => "text" in answer && answer.text)).toEqual(texts);
    expect(second).toMatchObject([{ text: "another" }]);
    worker.close();
    expect(await worker.render([ask("once more")])).toMatchObject([{ text: "once more" }]);
    worker.close();
  });

  it("is heard of between the renderings of a row, of which many turns take many", () => {
    // By a clock that runs on with every look at it: what the machine takes is no matter.
    let nowMs = 0;
    vi.spyOn(performance, "now").mockImplementation(() => (nowMs += 15));
    const replies: TemplateReply[] = [];
    const serve = templateServer((reply) => replies.push(reply));
    const template =
      "{% for m in messages %}{% for i in range(50) %}{% endfor %}{{ m.content }}.{% endfor %}";
    const messages = Array.from({ length: 60 }, (_, i) => ({
      role: i % 2 === 0 ? "user" : "assistant",
      content: `turn ${i}`,
    }));
    serve({ sources: { template, specialTokens: {}, now: 0 } });
    serve({ requests: [{ messages, wanted: "assistant", promptTurns: 0 }] });
    expect(replies).toContainEqual({ answers: [] });
    expect(replies.at(-1)).toMatchObject({ answers: [{ text: expect.stringContaining("turn 59.") }] });
  });

  it("has five times as long for a row that took too long, alone: the machine may have been busy", async () => {
    vi.useFakeTimers();
    /** The first row waits for so long each time it is asked. */
    const answeredAfter = (waitsMs: number[]) => {
      const asked: number[] = [];
      const start = (): TemplatePort => {
        let reply: (reply: TemplateReply) => void;
        const port: TemplatePort = {
          listen: (onReply) => {
            reply = onReply;
          },
          post: (call) => {
            if ("sources" in call) return void setTimeout(() => reply({ ready: true }));
            asked.push(call.requests.length);
            const answers = call.requests.map(() => ({
              text: "fine",
              learnt: null,
              marked: false,
              notes: [],
            }));
            setTimeout(() => reply({ answers }), waitsMs.shift() ?? 0);
          },
          terminate: () => {
            reply = () => {};
          },
        };
        return port;
      };
      const worker = new TemplateWorker(start, { template: "", specialTokens: {}, now: 0 });
      return { asked, answers: worker.render([ask("a"), ask("b")]) };
    };
    const slow = answeredAfter([1000, 1000]);
    const endless = answeredAfter([1e6, 1e6]);
    await vi.runAllTimersAsync();
    expect(await slow.answers).toMatchObject([{ text: "fine" }, { text: "fine" }]);
    expect(slow.asked).toEqual([2, 1, 1]);
    expect(await endless.answers).toMatchObject([{ code: "chat-time" }]);
    expect(endless.asked).toEqual([2, 1]);
  });

  it("that cannot be read says so", async () => {
    await expect(inThread("{% if %}").render([ask("a")])).rejects.toThrow(
      /The chat template cannot be read.*chat_template_path/,
    );
  });
});

describe("chat_template_path", () => {
  const folder = mkdtempSync(join(tmpdir(), "graft-templates-"));
  afterAll(() => rmSync(folder, { recursive: true }));

  it("is a file, or a folder with a tokenizer", async () => {
    const file = join(folder, "own.jinja");
    writeFileSync(file, "own");
    expect(await openChatTemplate(file)).toEqual({ template: "own" });
    await expect(openChatTemplate(folder)).rejects.toThrow(/a folder without a chat template/);
    writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify({ chat_template: "its" }));
    expect(await openChatTemplate(folder)).toEqual({ template: "its" });
    expect(await openChatTemplate(null)).toBeUndefined();
    await expect(openChatTemplate(join(folder, "none.jinja"))).rejects.toThrow(/no such file/);
  });
});
