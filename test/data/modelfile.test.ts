/** What stands around turns, read off a chat template by rendering it. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { modelfile, type TurnFrames, turnFrames } from "../../src/data/modelfile.ts";
import { buildTokenizer } from "../../src/data/tokenizer.ts";
import { inlineTemplate } from "./inline.ts";

const base = (file: string) =>
  JSON.parse(readFileSync(new URL(`../../reference/dumps/bases/llama_bos/${file}`, import.meta.url), "utf8"));
const TOKENIZER = buildTokenizer(base("tokenizer.json"), base("tokenizer_config.json"));
const ofText = (template: string) => turnFrames(inlineTemplate(template, TOKENIZER), TOKENIZER);
const ofFile = (name: string) =>
  ofText(readFileSync(new URL(`../../reference/templates/${name}.jinja`, import.meta.url), "utf8"));

describe("the frames of a chat template", () => {
  it("are found for ChatML, and for a model that writes a system turn of its own", async () => {
    expect(await ofFile("chatml")).toEqual({
      system: ["<|im_start|>system\n", "<|im_end|>\n"],
      user: ["<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"],
      assistant: ["", "<|im_end|>\n"],
      defaultSystem: undefined,
    });
    const own = await ofFile("smollm2");
    expect(own?.defaultSystem).toBe("You are a helpful AI assistant named SmolLM, trained by Hugging Face");
    expect(own?.system).toEqual(["<|im_start|>system\n", "<|im_end|>\n<|im_start|>user\n"]);
  });

  it.each(["zephyr", "phi3", "phi4", "qwen2_5", "qwen3", "marked"])("are found for %s", async (name) => {
    expect(await ofFile(name)).toBeDefined();
  });

  it("leave the beginning token to who reads the file", async () => {
    const template = "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}";
    const frames = await ofText(`${template}{% if add_generation_prompt %}[assistant]{% endif %}`);
    expect(frames?.user).toEqual(["[user]", "[assistant]"]);
  });

  // Mistral and Gemma put the system's words into the first user turn; Llama 3 writes the date.
  it.each(["mistral", "gemma3", "llama3"])("are not guessed for %s", async (name) => {
    expect(await ofFile(name)).toBeUndefined();
  });

  it.each([
    ["counts its turns", "{% for m in messages %}[{{ loop.index }} {{ m.role }}]{{ m.content }}{% endfor %}"],
    ["leaves turns out", "{{ messages[-1].content }}"],
    ["shortens what is said", "{% for m in messages %}{{ m.content[:2] }}{% endfor %}"],
    ["refuses", "{{ raise_exception('no') }}"],
    [
      "begins answers otherwise than it writes them",
      "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[bot]{% endif %}",
    ],
    [
      "ends the last turn otherwise",
      "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% if not loop.last %}.{% endif %}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}",
    ],
  ])("are not guessed for a template that %s", async (_, template) => {
    expect(await ofText(template)).toBeUndefined();
  });
});

describe("a Modelfile", () => {
  const frames: TurnFrames = {
    system: ["<sys>", "<end>\n"],
    user: ["<user>", "<end>\n<bot>"],
    assistant: ["", "<end>\n"],
    defaultSystem: undefined,
  };

  it("names the base, the adapter, how turns are written and where an answer ends", () => {
    expect(modelfile("llama3.2", "my.gguf", frames)).toBe(
      'FROM llama3.2\nADAPTER ./my.gguf\nTEMPLATE """{{ range .Messages }}' +
        '{{ if eq .Role "system" }}<sys>{{ .Content }}<end>\n' +
        '{{ else if eq .Role "user" }}<user>{{ .Content }}<end>\n<bot>' +
        '{{ else if eq .Role "assistant" }}{{ .Content }}<end>\n{{ end }}{{ end }}"""\n' +
        'PARAMETER stop "<end>"\n',
    );
  });

  it("holds the model's own system turn", () => {
    expect(modelfile("b", "a.gguf", { ...frames, defaultSystem: "Be brief." })).toContain(
      '\nSYSTEM """Be brief."""\n',
    );
  });

  it("has no template where there are no frames, or where they hold Ollama's own marks", () => {
    const plain = "FROM b\nADAPTER ./a.gguf\n";
    expect(modelfile("b", "a.gguf", undefined)).toBe(plain);
    expect(modelfile("b", "a.gguf", { ...frames, user: ["{{", ""] })).toBe(plain);
    expect(modelfile("b", "a.gguf", { ...frames, defaultSystem: 'a """ b' })).toBe(plain);
  });
});
