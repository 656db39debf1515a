/** Configs that a stranger has made to keep the page busy: chosen by or refused in a moment, on a model of twelve layers. */
import { expect, it } from "vitest";
import { GraftError } from "../../src/base/errors.ts";
import type { Json } from "../../src/base/json.ts";
import { readJsonObject } from "../../src/base/read-json.ts";
import { arraySource } from "../../src/formats/sources.ts";
import { cpuMs, SECOND_MS } from "../harness/second.ts";
import { adapterOn, MODELS } from "./fixtures.ts";

const many = <T>(count: number, make: (i: number) => T) => Array.from({ length: count }, (_, i) => make(i));
const record = (keys: string[], value: number) => Object.fromEntries(keys.map((key) => [key, value]));
/** As many steps for each character of a name as its instructions: all of them are tried at once. */
const heavy = (i: number) => `(.?){${50 + (i % 50)}}x${i}`;
const long = (i: number) => `${"a.".repeat(95)}${i}`;

it.each<[string, Record<string, Json>]>([
  ["a pattern that backtracks without end elsewhere", { target_modules: "(.*)*_proj" }],
  ["another", { target_modules: "(a|a)*(a|a)*(.*)*x" }],
  ["a pattern of a million steps", { target_modules: `${"(.?){1000}".repeat(190)}x` }],
  ["repetitions of repetitions", { target_modules: "(((.?){10}){10}){10}x" }],
  ["a thousand heavy patterns for ranks", { rank_pattern: record(many(1000, heavy), 2) }],
  ["a thousand heavy patterns for modules to save", { modules_to_save: many(1000, heavy) }],
  ["a thousand heavy patterns for layers", { layers_pattern: many(1000, heavy), layers_to_transform: [0] }],
  [
    "50 000 names for alphas",
    {
      alpha_pattern: record(
        many(50_000, (i) => `q${i}_proj`),
        2,
      ),
    },
  ],
  ["2000 targets", { target_modules: many(2000, (i) => `${i}.q_proj`) }],
  ["2000 long targets of many parts", { target_modules: many(2000, long) }],
  [
    "2000 targets that name whole modules",
    { target_modules: [...MODELS.llama.map(({ name }) => name), ...many(1900, String)] },
  ],
  ["100 000 targets", { target_modules: many(100_000, String) }],
  ["2000 exclusions", { exclude_modules: many(2000, (i) => `${i}.q_proj`) }],
  ["2000 modules to save", { modules_to_save: many(2000, (i) => `head${i}`) }],
  ["100 000 layers", { layers_to_transform: many(100_000, (i) => i) }],
])("%s", (_, config) => {
  const start = cpuMs();
  let warnings: readonly string[] = [];
  try {
    ({ warnings } = adapterOn("llama", { target_modules: ["q_proj"], ...config }));
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(GraftError);
    expect((thrown as GraftError).remedy).not.toBe("");
    expect((thrown as GraftError).message.length).toBeLessThan(1000);
  }
  expect(cpuMs() - start).toBeLessThan(SECOND_MS);
  expect(warnings.join().length).toBeLessThan(10_000);
});

it.each([
  ["lists", "[".repeat(1e6) + "]".repeat(1e6)],
  ["lists without an end", "[".repeat(2e6)],
  ["objects", '{"a":'.repeat(4e5)],
])("%s within each other are refused before they are built", async (_, text) => {
  const source = arraySource(new TextEncoder().encode(`{"r":${text}}`), "adapter_config.json");
  await expect(readJsonObject(source)).rejects.toThrow(
    /adapter_config.json nests lists and objects deeper than 64/,
  );
});

it("brackets within strings are no lists", async () => {
  const text = JSON.stringify({ a: `${"[{".repeat(100)}"\\`, b: [[{}]] });
  expect(await readJsonObject(arraySource(new TextEncoder().encode(text), "f"))).toEqual(JSON.parse(text));
});
