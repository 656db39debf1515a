/** Adapters as PEFT wrote them before and after every run of the reference: read and written again, nothing is lost. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { openDirectory } from "../../src/cli/files.ts";
import { openCheckpointTensors } from "../../src/formats/checkpoint.ts";
import { parseAdapterConfig } from "../../src/lora/config.ts";
import { reexportConfig } from "../../src/lora/exportConfig.ts";
import {
  type AdapterFiles,
  type LoadedAdapter,
  loadAdapter,
  readAdapter,
} from "../../src/lora/readAdapter.ts";
import { writeAdapter } from "../../src/lora/writeAdapter.ts";
import { parseModelConfig } from "../../src/models/config.ts";
import { Model } from "../../src/models/model.ts";

const DUMPS = "reference/dumps";
const RUNS = readdirSync(`${DUMPS}/runs`).sort();
const json = (path: string) => JSON.parse(readFileSync(path, "utf8")) as JsonObject;

async function load(run: string, adapter: AdapterFiles): Promise<LoadedAdapter> {
  const base = `${DUMPS}/bases/${json(`${DUMPS}/runs/${run}/case.json`).base}`;
  const config = parseModelConfig(json(`${base}/config.json`));
  const model = new Model(config, await openCheckpointTensors(await openDirectory(base)));
  return loadAdapter(adapter, model.modules, config.modelType, (name) => model.stored(name));
}

it.each([
  ["gpt2_lora_tied", "target_modules", ["c_fc", "transformer.wte"], "base_layer.weight"],
  ["gpt2_whole_tied", "modules_to_save", ["transformer.wte"], "modules_to_save.weight"],
])(
  "what is missing is said where PEFT has left a tied head out of the config: %s",
  async (run, setting, names, besides) => {
    const written = await readAdapter(await openDirectory(`${DUMPS}/runs/${run}/final`));
    const { config } = parseAdapterConfig({ ...written.given, [setting]: names }, "adapter_config.json");
    // What save_embedding_layers has PEFT write along stands first in the file.
    const along = `base_model.model.lm_head.${besides}`;
    const copied = { ...[...written.tensors.values()][0]!, name: along };
    for (const tensors of [written.tensors, new Map([[along, copied], ...written.tensors])]) {
      await expect(load(run, { ...written, tensors, config })).rejects.toMatchObject({
        remedy: expect.stringContaining(`add "lm_head" to ${setting}`),
      });
    }
    const mended = parseAdapterConfig({ ...written.given, [setting]: [...names, "lm_head"] });
    const { selection } = await load(run, { ...written, config: mended.config });
    expect([...selection.lora, ...selection.whole].some(({ tiedTo }) => tiedTo !== undefined)).toBe(true);
  },
);

describe.each(["initial", "final"])("PEFT's adapter before and after: %s", (stage) => {
  it.each(RUNS)("%s", async (run) => {
    const folder = `${DUMPS}/runs/${run}/${stage}`;
    const adapter = await readAdapter(await openDirectory(folder));
    const loaded = await load(run, adapter);
    const valuesOf = (key: string) => loaded.values.get(key)!;
    const written = await writeAdapter(reexportConfig(adapter.given), loaded.selection, valuesOf, loaded);
    const text = new TextDecoder().decode(written.get("adapter_config.json"));
    expect(JSON.parse(text)).toEqual({ ...json(`${folder}/adapter_config.json`), inference_mode: true });
    const bytes = new Uint8Array(readFileSync(`${folder}/adapter_model.safetensors`));
    expect(written.get("adapter_model.safetensors")).toEqual(bytes);
  });
});
