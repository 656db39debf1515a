import { expect, it } from "vitest";
import type { OpenRequest, Report } from "../../src/worker/api.ts";
import { exported, file, folder, nodeHost, valueIn } from "./nodeHost.ts";

const DUMPS = "reference/dumps";

const { host, devices } = nodeHost();

function request(): OpenRequest {
  return {
    model: folder(`${DUMPS}/bases/gpt2_gelu`),
    data: [file(`${DUMPS}/data/short.jsonl`)],
    run: file(`${DUMPS}/runs/gpt2_gelu/run.json`),
    adapter: folder(`${DUMPS}/runs/gpt2_gelu/initial`),
  };
}

const ignore = () => {};

const adapter = () => exported(host, "peft");

it("goes on after a pause as if there had been none", async () => {
  const summary = valueIn(await host.open(request(), ignore));
  expect(summary).toMatchObject({ modelType: "gpt2", steps: 30, rows: { used: 10, leftOut: 0 } });
  valueIn(await host.train(ignore, ignore));
  const straight = await adapter();

  valueIn(await host.open(request(), ignore));
  const seen: Report[] = [];
  let pausedAt = 0;
  while (pausedAt < 7) {
    // Paused at its first report, which comes at once: a fast device would be done by the next.
    const paused = await host.train(ignore, (reports) => {
      seen.push(...reports);
      void host.pause();
    });
    const { steps } = valueIn(paused);
    expect(paused).toEqual({
      ok: true,
      value: { steps, finished: false, best: undefined, adapterStep: steps },
    });
    expect(steps).toBeGreaterThan(pausedAt);
    pausedAt = steps;
  }
  expect(pausedAt).toBeLessThan(30);
  const halfway = await adapter();
  const second = await host.train(ignore, (reports) => seen.push(...reports));
  expect(second).toMatchObject({ ok: true, value: { steps: 30, finished: true, adapterStep: 30 } });
  const resumed = await adapter();

  const steps = seen.filter((report) => "loss" in report).map(({ step }) => step);
  expect(steps).toEqual(Array.from({ length: 30 }, (_, i) => i + 1));
  expect(seen.filter((report) => "audit" in report)).toHaveLength(1);
  const weights = "adapter_model.safetensors";
  expect(Buffer.compare(resumed[weights]!, straight[weights]!)).toBe(0);
  expect(Buffer.compare(halfway[weights]!, straight[weights]!)).not.toBe(0);
  expect(Object.keys(resumed).sort()).toEqual([
    "README.md",
    "adapter_config.json",
    "adapter_model.safetensors",
    "metrics.jsonl",
    "tokenizer.json",
    "tokenizer_config.json",
  ]);
});

it("answers before, between, while and after steps are taken, and reports on held-out rows", async () => {
  const heldOut = new File(['{"text":"the tree grows by the river"}\n'], "held.jsonl");
  const samples = { prompts: ["the tree", "a"], every: 2, max_new_tokens: 8, temperature: 0 };
  const run = { train: { max_steps: 4, eval_steps: 2, learning_rate: 0.01, shuffle: false, samples } };
  const summary = valueIn(
    await host.open({ ...request(), run, adapter: undefined, heldOut: [heldOut] }, ignore),
  );
  expect(summary.heldOut).toMatchObject({ used: 1, leftOut: 0 });
  const prompts = [{ text: "the tree" }, { text: "a" }];
  const ask = { prompts, max_new_tokens: 8 };
  const base = valueIn(await host.answers(ask, ignore, ignore));
  expect(base).toHaveLength(2);
  const reports: Report[] = [];
  valueIn(await host.train(ignore, (some) => reports.push(...some)));
  const evaluated = reports.flatMap((report) => ("eval_loss" in report ? [report.step] : []));
  expect(evaluated).toEqual([0, 2, 4]);
  const sampled = reports.flatMap((report) => ("samples" in report ? [report] : []));
  expect(sampled.map(({ step }) => step)).toEqual([0, 2, 4]);
  const grown: string[] = [];
  const tuned = valueIn(
    await host.answers(ask, ignore, (texts) => {
      for (const { prompt, text } of texts) grown[prompt] = text;
    }),
  );
  expect(grown).toEqual(tuned);
  expect(tuned).not.toEqual(base);
  const said = sampled.map((report) => report.samples.map(({ greedy }) => greedy));
  expect([said[0], said[2]]).toEqual([base, tuned]);
  expect(valueIn(await host.answers({ ...ask, asBase: true }, ignore, ignore))).toEqual(base);
  const cut = host.answers({ ...ask, max_new_tokens: 100_000 }, ignore, () => void host.stopAnswers());
  const [early] = valueIn(await cut);
  expect(early!.startsWith(tuned[0]!) || tuned[0]!.startsWith(early!)).toBe(true);
});

it("ends a run that goes on when another is opened", async () => {
  valueIn(await host.open(request(), ignore));
  let reopened: ReturnType<typeof host.open> | undefined;
  const first = await host.train(ignore, () => {
    reopened ??= host.open({ ...request(), run: { train: { max_steps: 2 } }, adapter: undefined }, ignore);
  });
  expect(valueIn(first).finished).toBe(false);
  expect(valueIn(await reopened!).steps).toBe(2);
  expect(valueIn(await host.train(ignore, ignore))).toMatchObject({ steps: 2, finished: true });
});

it("answers what cannot be done with a reason and a remedy, and goes on working", async () => {
  await host.close();
  const early = await host.export("peft", ignore);
  expect(early).toMatchObject({ ok: false, code: "nothing-open", remedy: "Open a model and data first." });
  const model = { label: "holey", files: request().model.files.filter(({ name }) => name !== "config.json") };
  const holey = await host.open({ ...request(), model }, ignore);
  expect(holey).toMatchObject({ ok: false, code: "no-config", message: "holey holds no config.json." });
  const misspelt = await host.open({ ...request(), run: { train: { max_step: 3 } } }, ignore);
  expect(misspelt).toMatchObject({ ok: false, code: "unknown-key" });
  valueIn(await host.open({ ...request(), run: { train: { max_steps: 1 } }, adapter: undefined }, ignore));
  expect(await host.export("peft", ignore)).toMatchObject({ ok: false, code: "not-trained" });
  expect(valueIn(await host.train(ignore, ignore)).finished).toBe(true);
});

it("says that the device was lost in mid-run, and offers no adapter of that run", async () => {
  const told = host.deviceLost();
  valueIn(await host.open(request(), ignore));
  const outcome = await host.train(ignore, () => devices.at(-1)!.destroy());
  expect(outcome).toMatchObject({ ok: false, code: "device-lost" });
  expect(await told).toMatchObject({ ok: false, code: "device-lost" });
  expect(await host.export("peft", ignore)).toMatchObject({ ok: false, code: "nothing-open" });
  // A fresh device serves the next run.
  valueIn(await host.open({ ...request(), run: { train: { max_steps: 1 } }, adapter: undefined }, ignore));
  expect(valueIn(await host.train(ignore, ignore)).steps).toBe(1);
  expect(devices).toHaveLength(2);
});

it("says that the device was lost between two runs", async () => {
  const told = host.deviceLost();
  valueIn(await host.open(request(), ignore));
  devices.at(-1)!.destroy();
  expect(await told).toMatchObject({ ok: false, code: "device-lost" });
  expect(await host.train(ignore, ignore)).toMatchObject({ ok: false, code: "device-lost" });
  valueIn(await host.open(request(), ignore));
});

it("reads, shows and edits rows, and a run is opened with them as they then are", async () => {
  const data = [
    new File(["q,a\na tree,by the river\nbroken\nthe river,a tree\na tree,by the river\n"], "a.csv"),
  ];
  const mapping = { column_mapping: { prompt: "{q}", completion: " {a}" } };
  const run = { train: { ...mapping, max_steps: 1 } };
  const asked = { ...request(), data, run, adapter: undefined };
  expect(await host.readData({ data, run: {} }, ignore)).toMatchObject({
    value: { shape: undefined, records: 3, refusal: { code: "row-shape" } },
  });
  expect(await host.open(asked, ignore)).toMatchObject({ ok: false, code: "csv-fields" });
  const facts = valueIn(await host.readData({ ...asked, faulty: "skip" }, ignore));
  expect(facts).toMatchObject({ train: 3, faultCount: 1, duplicates: 1, refusal: undefined });
  expect(valueIn(await host.editData({ kind: "remove-duplicates" }))).toMatchObject({ train: 2, records: 2 });
  const stages: string[] = [];
  const open = () => host.open({ ...asked, faulty: "skip" }, ({ stage }) => stages.push(stage));
  const summary = valueIn(await open());
  expect(summary).toMatchObject({ rows: { used: 2 }, stepsPerEpoch: { plain: 1, packed: 1 } });
  expect(summary.lengths.length).toHaveLength(2);
  expect(valueIn(await host.dataLines(0, 9)).map(({ line, cells }) => [line, ...cells])).toEqual([
    [2, "a tree", "by the river"],
    [4, "the river", "a tree"],
  ]);
  const { values, tokens } = valueIn(await host.dataRecord(1));
  expect(values).toEqual({ q: "the river", a: "a tree" });
  const { ids, pieces, trained } = valueIn(tokens!);
  expect(ids).toHaveLength(summary.lengths.length[1]!);
  expect(pieces.filter((_, i) => trained[i] === 1).join("")).toMatch(/^ a tree/);
  expect(await host.dataRecord(2)).toMatchObject({ ok: false, code: "no-such-row" });
});

it("stops reading when it is told to", async () => {
  const data = [new File([`{"text":"a"}\n`.repeat(1_000_000)], "many.jsonl")];
  const reading = host.readData({ data, run: {} }, () => void host.stopOpening());
  expect(await reading).toMatchObject({ ok: false, code: "stopped" });
  const opening = host.open({ ...request(), data, run: {} }, () => {});
  const other = host.readData({ data: request().data, run: {} }, ignore);
  expect(await opening).toMatchObject({ ok: false, code: "stopped" });
  expect(valueIn(await other).train).toBe(10);
});
