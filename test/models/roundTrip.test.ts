/** Adapters as PEFT wrote them before and after every run of the reference: read and written again, nothing is lost. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { openDirectory } from "../../src/cli/files.ts";
import { openCheckpointTensors } from "../../src/formats/checkpoint.ts";
import { reexportConfig } from "../../src/lora/exportConfig.ts";
import { loadAdapter, readAdapter } from "../../src/lora/readAdapter.ts";
import { writeAdapter } from "../../src/lora/writeAdapter.ts";
import { parseModelConfig } from "../../src/models/config.ts";
import { Model } from "../../src/models/model.ts";

const DUMPS = "reference/dumps";
const RUNS = readdirSync(`${DUMPS}/runs`).sort();
const json = (path: string) => JSON.parse(readFileSync(path, "utf8")) as JsonObject;

describe.each(["initial", "final"])("PEFT's adapter before and after: %s", (stage) => {
  it.each(RUNS)("%s", async (run) => {
    const base = `${DUMPS}/bases/${json(`${DUMPS}/runs/${run}/case.json`).base}`;
    const config = parseModelConfig(json(`${base}/config.json`));
    const model = new Model(config, await openCheckpointTensors(await openDirectory(base)));
    const folder = `${DUMPS}/runs/${run}/${stage}`;
    const adapter = await readAdapter(await openDirectory(folder));
    const stored = (name: string) => model.stored(name);
    const loaded = await loadAdapter(adapter, model.modules, config.modelType, stored);
    const valuesOf = (key: string) => loaded.values.get(key)!;
    const written = await writeAdapter(reexportConfig(adapter.given), loaded.selection, valuesOf, loaded);
    const text = new TextDecoder().decode(written.get("adapter_config.json"));
    expect(JSON.parse(text)).toEqual({ ...json(`${folder}/adapter_config.json`), inference_mode: true });
    const bytes = new Uint8Array(readFileSync(`${folder}/adapter_model.safetensors`));
    expect(written.get("adapter_model.safetensors")).toEqual(bytes);
  });
});
