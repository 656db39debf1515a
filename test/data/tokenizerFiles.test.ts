import { expect, it } from "vitest";
import { tokenizerFiles } from "../../src/data/tokenizerFiles.ts";
import { arraySource, mapFileSet } from "../../src/formats/sources.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

function folder(files: Record<string, string>) {
  const sources = Object.entries(files).map(
    ([name, text]) => [name, arraySource(bytes(text), name)] as const,
  );
  return mapFileSet("base", new Map(sources));
}

async function written(
  files: Record<string, string>,
  template?: { template: string; toolTemplate?: string },
) {
  const found = await tokenizerFiles(folder(files), template);
  return Object.fromEntries([...found].map(([name, content]) => [name, new TextDecoder().decode(content)]));
}

it("takes the tokenizer's files as they are, and nothing else of the folder", async () => {
  const tokenizer = {
    "tokenizer.json": '{"a":1.0}',
    "tokenizer_config.json": '{"chat_template": "own"}',
    "merges.txt": "a b",
  };
  const found = await written({ ...tokenizer, "config.json": "{}", "model.safetensors": "" });
  expect(found).toEqual(tokenizer);
  expect(await written(tokenizer, { template: "own" })).toEqual({
    ...tokenizer,
    "chat_template.jinja": "own",
  });
});

it("puts the template that was trained with in place of all that the folder has", async () => {
  const files = {
    "tokenizer_config.json": '{"chat_template": "old", "eos_token": "é"}',
    "chat_template.jinja": "old",
  };
  const found = await written(files, { template: "new", toolTemplate: "tools" });
  expect(found["chat_template.jinja"]).toBe("new");
  expect(found["additional_chat_templates/tool_use.jinja"]).toBe("tools");
  // llama.cpp's converter would believe this key before the file.
  expect(JSON.parse(found["tokenizer_config.json"]!)).toEqual({ eos_token: "é" });
});
