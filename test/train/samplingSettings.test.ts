import { describe, expect, it } from "vitest";
import { arraySource, mapFileSet } from "../../src/formats/sources.ts";
import { readGenerationConfig } from "../../src/train/samplingSettings.ts";

function read(json?: object) {
  const bytes = new TextEncoder().encode(JSON.stringify(json));
  const files = json
    ? [["generation_config.json", arraySource(bytes, "generation_config.json")] as const]
    : [];
  return readGenerationConfig(mapFileSet("model", new Map(files)));
}

describe("a generation_config.json", () => {
  it("that is absent, or says nothing, means Transformers' defaults", async () => {
    const defaults = { temperature: 1, top_k: 50, top_p: 1, repetition_penalty: 1, stopIds: [] };
    expect(await read()).toEqual(defaults);
    expect(await read({ temperature: null, top_k: null })).toEqual(defaults);
  });

  it("says how the model is sampled and what ends an answer", async () => {
    const said = { temperature: 0.7, top_k: 20, top_p: 0.8, repetition_penalty: 1.05 };
    expect(await read({ ...said, do_sample: true, eos_token_id: [0, 2] })).toEqual({
      ...said,
      stopIds: [0, 2],
    });
    expect(await read({ eos_token_id: 7 })).toMatchObject({ stopIds: [7] });
  });

  it.each([
    [
      { temperature: "hot" },
      'generation_config.json: temperature is "hot", expected a number of at least 0.',
    ],
    [{ top_k: 1.5 }, "generation_config.json: top_k is 1.5, expected an integer of at least 0."],
    [{ top_p: 2 }, "generation_config.json: top_p is 2, expected a number from 0 to 1."],
    [
      { repetition_penalty: 0 },
      "generation_config.json: repetition_penalty is 0, expected a number above 0.",
    ],
  ])("that makes no sense is refused: %o", async (json, message) => {
    await expect(read(json)).rejects.toThrow(message);
  });
});
