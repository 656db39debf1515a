import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parseAdapterConfig } from "../../src/lora/config.ts";
import type { ModuleDescriptor } from "../../src/lora/modules.ts";
import { selectModules } from "../../src/lora/targets.ts";

interface Fixture {
  models: Record<string, ModuleDescriptor[]>;
  cases: {
    model: string;
    config: Record<string, unknown>;
    refused?: string;
    lora: Record<string, [r: number, scale: number]>;
    saved: string[];
    target_modules: string | string[];
  }[];
}

// Made by reference/targets_dump.py: what PEFT itself adapts.
const fixture = JSON.parse(
  readFileSync(new URL("fixtures/targets.json", import.meta.url), "utf8"),
) as Fixture;

describe("target selection equals PEFT's", () => {
  it.each(
    fixture.cases.map((one, i) => [i, one.model, JSON.stringify(one.config).slice(0, 140), one] as const),
  )("%i %s %s", (_, model, __, { config, refused, lora, saved, target_modules }) => {
    const select = () => {
      const parsed = parseAdapterConfig({ peft_type: "LORA", ...config });
      return selectModules(fixture.models[model]!, parsed.config, {
        modelType: model,
        origin: "adapter",
        path: "adapter_config.json",
      });
    };
    if (refused) {
      expect(select).toThrow(/adapter_config\.json/);
      return;
    }
    const selection = select();
    const found = Object.fromEntries(selection.lora.map(({ module, r, scale }) => [module.name, [r, scale]]));
    expect(found).toEqual(lora);
    expect(selection.lora.map(({ module }) => module.name)).toEqual(Object.keys(lora));
    expect([...new Set(selection.whole.map(({ module }) => module.name))].sort()).toEqual(saved);
    const targets = selection.targetModules;
    expect(typeof targets === "string" ? targets : [...targets].sort()).toEqual(target_modules);
  });

  it("covers what PEFT refuses and what it takes", () => {
    expect(fixture.cases.length).toBeGreaterThan(100);
    expect(fixture.cases.filter(({ refused }) => refused).length).toBeGreaterThan(15);
  });
});
