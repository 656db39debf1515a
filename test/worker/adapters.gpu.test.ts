import { zipSync } from "fflate";
import { beforeEach, expect, it } from "vitest";
import type { AdapterUse, Folder, OpenRequest, Progress } from "../../src/worker/api.ts";
import { exported, file, folder, nodeHost, valueIn } from "./nodeHost.ts";

const DUMPS = "reference/dumps";
const WEIGHTS = "adapter_model.safetensors";

const { host, devices } = nodeHost();
beforeEach(async () => {
  await host.closeBase();
  await host.close();
});

const model = folder(`${DUMPS}/bases/llama`);
const adapterOf = (name: string) => folder(`${DUMPS}/runs/${name}/final`);

function zipOf({ files }: Folder): Promise<File> {
  const entries = files.map(async (one) => [one.name, new Uint8Array(await one.arrayBuffer())] as const);
  return Promise.all(entries).then((read) => new File([zipSync({ run: Object.fromEntries(read) })], "a.zip"));
}

function request(): OpenRequest {
  return {
    model,
    data: [file(`${DUMPS}/data/short.jsonl`)],
    run: { train: { max_steps: 20, learning_rate: 0.01 } },
  };
}

const ignore = () => {};
const adapter = () => exported(host, "peft");
const asked = { prompts: [{ text: "the tree" }, { text: "a" }], max_new_tokens: 12 };

async function answers(adapters?: readonly AdapterUse[]): Promise<readonly string[]> {
  return valueIn(await host.answers({ ...asked, ...(adapters ? { adapters } : {}) }, ignore, ignore));
}

it("opens adapters as a folder, a zip and a GGUF file, and says what they are", async () => {
  expect(valueIn(await host.openBase(model))).toEqual({
    ...{ label: model.label, modelType: "llama", parameters: 27_808, layers: 2, ofRun: false },
  });
  const facts = valueIn(await host.openAdapter(adapterOf("llama_dora"), ignore));
  expect(facts).toMatchObject({
    config: { peft_type: "LORA", use_dora: true },
    fit: { ok: true, value: { layers: [0, 1], whole: [], tokens: [] } },
  });
  expect(facts.bytes).toBe(4 * facts.parameters);
  const fit = valueIn(facts.fit);
  expect(fit.modules.every(({ dora }) => dora)).toBe(true);
  expect(facts.tensors).toHaveLength(3 * fit.modules.length);
  const changes = valueIn(await host.adapterChanges(facts.id));
  expect(changes.map(({ name }) => name)).toEqual(fit.modules.map(({ module }) => `${module}.weight`));
  for (const { change, base } of changes) {
    expect(change).toBeGreaterThan(0);
    expect(change).toBeLessThan(base);
  }
  const zipped = valueIn(await host.openAdapter(await zipOf(adapterOf("llama_dora")), ignore));
  expect({ ...zipped, id: facts.id, label: facts.label }).toEqual(facts);
  expect(zipped.id).not.toBe(facts.id);
  const fixture = "test/lora/fixtures/gguf/llama";
  const packed = valueIn(await host.openAdapter(file(`${fixture}/expected.gguf`), ignore));
  const plain = valueIn(await host.openAdapter(folder(fixture), ignore));
  expect(packed.taskType).toBe("CAUSAL_LM");
  expect(valueIn(packed.fit).modules).toEqual(valueIn(plain.fit).modules);
  expect(valueIn(await host.adapterChanges(packed.id))).toEqual(valueIn(await host.adapterChanges(plain.id)));
});

it("tells how far it is with what an adapter began as, and can be stopped", async () => {
  valueIn(await host.openBase(model));
  const told: Progress[] = [];
  const stop = (progress: Progress) => {
    told.push(progress);
    void host.stopOpeningAdapter();
  };
  expect(await host.openAdapter(adapterOf("llama_pissa"), stop)).toMatchObject({ code: "stopped" });
  expect(told).toEqual([{ stage: "start", done: 0, total: 10 }]);
  const { id, fit } = valueIn(await host.openAdapter(adapterOf("llama_pissa"), ignore));
  expect(fit.ok).toBe(true);
  expect(await answers([{ id, strength: 1 }])).not.toEqual(await answers([]));
});

it("says why an adapter does not fit, and does not use it", async () => {
  valueIn(await host.openBase(model));
  const facts = valueIn(await host.openAdapter(adapterOf("mistral_rslora"), ignore));
  expect(facts.fit).toMatchObject({ ok: false, code: "shape-mismatch" });
  const used = await host.answers({ ...asked, adapters: [{ id: facts.id, strength: 1 }] }, ignore, ignore);
  expect(used).toMatchObject({ ok: false, code: "shape-mismatch" });
  const other = new File(["{}"], "notes.txt");
  expect(await host.openAdapter(other, ignore)).toMatchObject({ ok: false, code: "no-adapter" });
  expect(await host.openAdapter(model, ignore)).toMatchObject({ ok: false, code: "no-adapter-config" });
});

it("swaps and stacks adapters without reading the base again", async () => {
  valueIn(await host.openBase(model));
  const plain = valueIn(await host.openAdapter(adapterOf("llama_all_linear"), ignore)).id;
  const dora = valueIn(await host.openAdapter(adapterOf("llama_dora"), ignore)).id;
  const base = await answers([]);
  // The lengths of rows that DoRA wants come to the base once.
  const first = await answers([{ id: dora, strength: 1 }]);
  const held = valueIn(await host.memory());
  expect(held).toMatchObject({ adapter: 0, activations: 0 });
  const created: string[] = [];
  const device = devices.at(-1)!;
  const createBuffer = device.createBuffer.bind(device);
  device.createBuffer = (descriptor) => {
    created.push(descriptor.label ?? "");
    return createBuffer(descriptor);
  };
  const uses: (readonly AdapterUse[])[] = [
    [{ id: plain, strength: 1 }],
    [{ id: dora, strength: 1, layersOff: [0] }],
    [{ id: plain, strength: 2 }],
    [
      { id: plain, strength: 1.5 },
      { id: dora, strength: 0.5 },
    ],
  ];
  const seen = [base, first];
  for (const use of uses) seen.push(await answers(use));
  expect(new Set(seen.map((texts) => texts.join())).size).toBe(seen.length);
  expect(await answers([{ id: plain, strength: 0 }])).toEqual(base);
  expect(await answers([{ id: dora, strength: 1 }])).toEqual(first);
  device.createBuffer = createBuffer;
  expect(created.filter((label) => /^model\.|^lm_head/.test(label))).toEqual([]);
  expect(valueIn(await host.memory())).toEqual(held);
  await host.closeAdapter(plain);
  const gone = await host.answers({ ...asked, adapters: [{ id: plain, strength: 1 }] }, ignore, ignore);
  expect(gone).toMatchObject({ ok: false, code: "no-adapter" });
});

it("refuses strengths and layers that are not there", async () => {
  valueIn(await host.openBase(model));
  const { id } = valueIn(await host.openAdapter(adapterOf("llama_all_linear"), ignore));
  const refused = async (use: Partial<AdapterUse>) =>
    host.answers({ ...asked, adapters: [{ id, strength: 1, ...use }] }, ignore, ignore);
  expect(await refused({ strength: 2.5 })).toMatchObject({ ok: false, code: "strength" });
  expect(await refused({ layersOff: [2] })).toMatchObject({ ok: false, code: "layers-off" });
  expect(await refused({ id: "run" })).toMatchObject({ ok: false, code: "nothing-open" });
  await host.closeBase();
  expect(await host.openAdapter(adapterOf("llama_dora"), ignore)).toMatchObject({
    ok: false,
    code: "nothing-open",
  });
});

it("asks a run at any strength and beside other adapters, and the run goes on as if nobody had", async () => {
  valueIn(await host.open(request(), ignore));
  valueIn(await host.train(ignore, ignore));
  const straight = (await adapter())[WEIGHTS]!;

  valueIn(await host.open(request(), ignore));
  const base = await answers([]);
  expect(await answers()).toEqual(base);
  // At its first report, which comes at once: a fast device would be done by the next.
  const pause = () => void host.pause();
  expect(valueIn(await host.train(ignore, pause)).finished).toBe(false);
  expect(valueIn(await host.train(ignore, pause)).finished).toBe(false);
  const tuned = await answers();
  expect(await answers([{ id: "run", strength: 1 }])).toEqual(tuned);
  expect(await answers([{ id: "run", strength: 0 }])).toEqual(base);
  expect(valueIn(await host.openBase(model)).ofRun).toBe(true);
  const { id } = valueIn(await host.openAdapter(await zipOf(adapterOf("llama_dora")), ignore));
  const alone = await answers([{ id, strength: 1 }]);
  const together = await answers([
    { id: "run", strength: 2 },
    { id, strength: 1, layersOff: [1] },
  ]);
  expect(together).not.toEqual(alone);
  expect(valueIn(await host.train(ignore, ignore)).finished).toBe(true);
  expect(Buffer.compare((await adapter())[WEIGHTS]!, straight)).toBe(0);

  // The run ends, its base stays with the adapters; and the other way round.
  await host.close();
  expect(await answers([{ id, strength: 1 }])).toEqual(alone);
  expect(await host.answers(asked, ignore, ignore)).toMatchObject({ ok: false, code: "nothing-open" });
  valueIn(await host.open(request(), ignore));
  await host.closeBase();
  expect(await answers()).toEqual(base);
  await host.close();
});

it("goes on from an adapter in a zip", async () => {
  const folderly = { ...request(), adapter: adapterOf("llama_all_linear"), run: { train: { max_steps: 1 } } };
  valueIn(await host.open(folderly, ignore));
  valueIn(await host.train(ignore, ignore));
  const wanted = (await adapter())[WEIGHTS]!;
  valueIn(await host.open({ ...folderly, adapter: await zipOf(adapterOf("llama_all_linear")) }, ignore));
  valueIn(await host.train(ignore, ignore));
  expect(Buffer.compare((await adapter())[WEIGHTS]!, wanted)).toBe(0);
});
