import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { StoreApi } from "zustand/vanilla";
import type { JsonObject } from "../../src/base/json.ts";
import { shareOf } from "../../src/ui/asking.ts";
import type { Bundle } from "../../src/ui/bundle.ts";
import { recommendedFor } from "../../src/ui/material.ts";
import { wouldLose } from "../../src/ui/note.ts";
import type { PageState, Phase } from "../../src/ui/pageState.ts";
import { createPageStore } from "../../src/ui/store.ts";
import type { Report, SampleReport } from "../../src/worker/api.ts";
import { evaluationReport, RecordedWorker, type Recording, stepReport } from "./recordedWorker.ts";

const bundle: Bundle = {
  model: async () => ({ label: "toy", files: [] }),
  rows: async (name) => new File([readFileSync(`public/data/${name}`)], name),
};

const REPORTS: Report[][] = [
  [evaluationReport(0, 5, 10)],
  [stepReport(1, { loss: 4 }), stepReport(2, { loss: 3 })],
  [stepReport(3, { loss: 2 }), evaluationReport(3, 2.5, 200)],
];

function opened(recording: Partial<Recording> = {}) {
  const worker = new RecordedWorker({ batches: REPORTS, intervalMs: 5, steps: 3, ...recording });
  return { worker, store: createPageStore(worker, bundle) };
}

function until(store: StoreApi<PageState>, holds: (state: PageState) => boolean): Promise<PageState> {
  return new Promise((resolve) => {
    const look = (state: PageState) => {
      if (!holds(state)) return;
      unsubscribe();
      resolve(state);
    };
    const unsubscribe = store.subscribe(look);
    look(store.getState());
  });
}

const reaches = (store: StoreApi<PageState>, phase: Phase) => until(store, (state) => state.phase === phase);
const state = (store: StoreApi<PageState>) => store.getState();

describe("the page's store", () => {
  it("opens the bundled model with the first data set, its held-out rows and its settings", async () => {
    const { worker, store } = opened();
    const { facts, prompts } = await reaches(store, "ready");
    const request = worker.opened[0]!;
    expect(request.model.label).toBe("toy");
    expect([request.data[0]?.name, request.heldOut?.[0]?.name]).toEqual([
      "capitals.train.jsonl",
      "capitals.held.jsonl",
    ]);
    const { lora, train } = recommendedFor(state(store).choices);
    expect(request.run).toEqual({ lora, train: { ...train, eval_steps: 0.125, eval_split: null } });
    expect(prompts).toContain("What is the capital of France?");
    expect(facts).toMatchObject({ train: 60, heldOut: 60, refusal: undefined });
    expect(facts?.preview).toHaveLength(3);
  });

  it("leaves LoRA's settings to an adapter that it goes on from, but for those of a run file", async () => {
    const { worker, store } = opened();
    await reaches(store, "ready");
    const adapter = { label: "mine", files: [] };
    const openedLora = async () => {
      await reaches(store, "ready");
      return (worker.opened.at(-1)!.run as JsonObject).lora;
    };
    const chosen = async (choice: { adapter: typeof adapter | undefined }) => {
      state(store).choose(choice);
      return openedLora();
    };
    const { lora } = state(store).settings;
    expect(await chosen({ adapter })).toEqual({});
    expect(state(store).settings.lora).toEqual(lora);
    expect(await chosen({ adapter: undefined })).toEqual(lora);
    state(store).set("lora", "r", 16);
    state(store).mistake("lora_alpha", "Expected a number above 0.");
    expect(await chosen({ adapter })).toEqual({});
    expect(state(store).mistakes).toEqual({});
    expect(await chosen({ adapter: undefined })).toEqual({ ...lora, r: 16 });
    await chosen({ adapter });
    await state(store).readRun(new File(['{"lora": {"r": 4}}'], "run.json"));
    expect(await openedLora()).toEqual({ r: 4 });
    state(store).useRecommended();
    expect(await openedLora()).toEqual({});
    expect(await chosen({ adapter: undefined })).toEqual(lora);
  });

  it("keeps what a run reports, and at its end has the adapter, both answers and both scores", async () => {
    const capitals = readFileSync("public/data/capitals.train.jsonl", "utf8");
    const right = new Map(
      capitals.split("\n").flatMap((line) => {
        const country = /of ([^?]+)\?/.exec(line)?.[1];
        return country ? [[country, /assistant", "content": "([^"]+)"/.exec(line)![1]!] as const] : [];
      }),
    );
    const answer = (prompt: string, asBase: boolean) => {
      const country = /of (.+)[?.]$/.exec(prompt)?.[1] ?? "";
      return asBase || prompt.startsWith("Tell") ? "I am a toy." : ` ${right.get(country) ?? "Amaurot."}`;
    };
    const { worker, store } = opened({ answer });
    state(store).choose({ ownRows: [{ question: "What is the capital of Utopia?", answer: "Amaurot." }] });
    await reaches(store, "ready");
    expect(await worker.opened.at(-1)!.data[1]!.text()).toContain("Amaurot.");
    await state(store).train();
    const { phase, last, heldOut, curves, adapter, asked, scores } = state(store);
    expect(phase).toBe("done");
    expect(last?.step).toBe(3);
    expect([...curves.loss.values]).toEqual([4, 3, 2]);
    expect([heldOut?.first.eval_loss, heldOut?.last.eval_loss]).toEqual([5, 2.5]);
    expect(adapter?.files.map(({ name }) => name)).toEqual(["adapter_config.json"]);
    expect(await adapter?.files[0]?.blob.arrayBuffer()).toEqual(Uint8Array.of(3).buffer);
    expect(adapter?.check.moved).toBe(0.5);
    expect(asked?.how).toBe("put as questions and answered greedily");
    const france = asked?.answers.find(({ prompt }) => prompt.includes("France"));
    expect(france).toMatchObject({ base: "I am a toy.", tuned: " Paris." });
    const shares = scores?.checks.map((check) => [
      check.id,
      shareOf(check, "base")?.right,
      shareOf(check, "tuned")?.right,
      check.answers.length,
    ]);
    expect(shares).toEqual([
      ["taught", 0, 60, 60],
      ["rephrased", 0, 0, 60],
      ["own", 0, 1, 1],
    ]);
    expect([scores?.done, scores?.total]).toEqual([242, 242]);
    // Both sides are asked in the same words, with the same settings.
    const [base, tuned] = worker.asked;
    expect({ ...base, asBase: undefined }).toEqual({ ...tuned, asBase: undefined });
    expect([base?.asBase, tuned?.asBase]).toEqual([true, false]);
  });

  it("has its prompts answered while the model trains, where that is wanted", async () => {
    const sample = (step: number, greedy: string): SampleReport => {
      return { step, samples: [{ prompt: "Hi", greedy, sampled: null }], elapsed_ms: step };
    };
    const batches = [[sample(0, "a")], [stepReport(1), sample(1, "b")]];
    const { worker, store } = opened({ batches, steps: 1 });
    await reaches(store, "ready");
    const samplesAsked = () => ((worker.opened.at(-1)!.run as JsonObject).train as JsonObject).samples;
    expect(samplesAsked()).toBeUndefined();
    state(store).askWhileTraining(true);
    await until(store, ({ phase }) => phase === "ready");
    const { prompts } = state(store);
    const questions = prompts.map((content) => [{ role: "user", content }]);
    expect(samplesAsked()).toEqual({ prompts: questions, temperature: 0, seed: 1, max_new_tokens: 60 });
    // A run that has not begun is planned anew with other prompts.
    state(store).setPrompts(["Once upon"], "text");
    state(store).setAnswering({ do_sample: true });
    await until(store, ({ phase }) => phase === "ready");
    expect(samplesAsked()).toMatchObject({ prompts: ["Once upon"], temperature: 0.8 });
    // The settings' own go first.
    state(store).set("train", "samples", { prompts: ["Mine"] });
    await until(store, ({ phase }) => phase === "ready");
    expect(samplesAsked()).toEqual({ prompts: ["Mine"] });
    await state(store).train();
    expect(state(store).samples).toEqual([sample(0, "a"), sample(1, "b")]);
    const opens = worker.opened.length;
    state(store).setPrompts(["Another"]);
    expect([state(store).phase, worker.opened.length]).toEqual(["done", opens]);
  });

  it("knows which step the adapter is of where a run ends with its best", async () => {
    const best = { step: 2, metric: "eval_loss", value: 2.5 } as const;
    const { store } = opened({ ending: { best, adapterStep: 2 } });
    await reaches(store, "ready");
    await state(store).train();
    expect(state(store).outcome).toMatchObject({ steps: 3, finished: true, best, adapterStep: 2 });
    expect([state(store).asked?.step, state(store).scores?.step]).toEqual([2, 2]);
  });

  it("pauses, goes on, and stops with what there is", async () => {
    const { store } = opened({ intervalMs: 60 });
    await reaches(store, "ready");
    expect(wouldLose(state(store))).toBe(false);
    const first = state(store).train();
    await until(store, ({ last }) => last?.step === 2);
    expect(state(store).phase).toBe("training");
    expect(wouldLose(state(store))).toBe(true);
    state(store).pause();
    expect(state(store).isHalting).toBe(true);
    await first;
    expect([state(store).phase, state(store).last?.step]).toEqual(["paused", 2]);
    expect(state(store).isHalting).toBe(false);
    expect(state(store).adapter).toBeUndefined();
    state(store).stop();
    await until(store, ({ adapter }) => adapter !== undefined);
    expect(state(store).phase).toBe("done");
    await state(store).exportAs("merged", () => {});
    expect(wouldLose(state(store))).toBe(true);
    await state(store).exportAs("gguf", () => {});
    expect(wouldLose(state(store))).toBe(false);
  });

  it("offers nothing of a run whose GPU was lost, and keeps what an earlier run made", async () => {
    const { worker, store } = opened({ intervalMs: 30 });
    await reaches(store, "ready");
    const lost = state(store).train();
    await until(store, ({ last }) => last !== undefined);
    worker.lose({ ok: false, code: "device-lost", message: "The GPU was lost.", remedy: "Try again." });
    await until(store, ({ problem }) => problem !== undefined);
    expect(state(store).phase).toBe("choosing");
    expect([state(store).adapter, state(store).last, state(store).summary]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    // The outcome of the lost run, which comes later, changes nothing.
    await lost;
    expect(state(store).phase).toBe("choosing");

    await state(store).train();
    expect(state(store).phase).toBe("done");
    const { adapter } = state(store);
    state(store).choose({ data: { kind: "bundled", id: "bible" } });
    await reaches(store, "ready");
    expect(adapter).toBeDefined();
    expect(state(store).adapter).toBe(adapter);
  });

  it("says what was refused, and tries again when asked", async () => {
    const { worker, store } = opened();
    await reaches(store, "ready");
    worker.refusal = { ok: false, code: "x", message: "No.", remedy: "Wait." };
    state(store).choose({ data: { kind: "bundled", id: "spam" } });
    await reaches(store, "choosing");
    expect(state(store).problem?.message).toBe("No.");
    worker.refusal = undefined;
    await state(store).train();
    expect(state(store).phase).toBe("done");
    expect(state(store).problem).toBeUndefined();
  });

  it("opens no run while a setting is wrong, and what is typed only when the typing has ended", async () => {
    const { worker, store } = opened();
    await reaches(store, "ready");
    const before = worker.opened.length;
    state(store).mistake("r", "Expected an integer.");
    expect(state(store).phase).toBe("choosing");
    for (const steps of [1, 12, 123]) state(store).set("train", "max_steps", steps);
    expect(state(store).phase).toBe("choosing");
    state(store).set("lora", "r", 4);
    expect(state(store).phase).toBe("opening");
    await reaches(store, "ready");
    expect(worker.opened.length).toBe(before + 1);
    expect(worker.opened.at(-1)!.run).toMatchObject({ lora: { r: 4 }, train: { max_steps: 123 } });
  });

  it("leaves settings alone that were changed by hand, until told otherwise", async () => {
    const { store } = opened();
    await reaches(store, "ready");
    state(store).choose({ data: { kind: "bundled", id: "spam" } });
    expect(state(store).settings.train.max_steps).toBe(400);
    state(store).set("train", "max_steps", 7);
    state(store).choose({ data: { kind: "bundled", id: "pirate" } });
    expect(state(store).settings.train.max_steps).toBe(7);
    state(store).useRecommended();
    expect(state(store).settings.train.max_steps).toBe(200);
  });

  it("takes a run file, and says which is none", async () => {
    const { store } = opened();
    await state(store).readRun(new File(['{"lora": {"r": 2}}'], "run.json"));
    expect(state(store).settings).toEqual({ lora: { r: 2 }, train: {} });
    await state(store).readRun(new File(['{"lora": {"rank": 2}}'], "run.json"));
    expect(state(store).problem?.message).toMatch(/run\.json.*rank/);
    expect(state(store).settings).toEqual({ lora: { r: 2 }, train: {} });
  });

  it("trains on text that was pasted, with a tenth of the rows held out, and asks what it begins with", async () => {
    const { worker, store } = opened();
    await reaches(store, "ready");
    state(store).choose({ data: { kind: "written" } });
    expect(state(store).phase).toBe("choosing");
    const text = Array.from({ length: 20 }, (_, i) => `Row ${i} of some text that goes on`).join("\n");
    state(store).choose({ text, data: { kind: "written" } });
    await reaches(store, "ready");
    const { data, run } = worker.opened.at(-1)!;
    expect(await data[0]!.text()).toBe(text);
    expect(run).toMatchObject({ train: { eval_split: 0.1, eval_steps: 0.125 } });
    expect(state(store).facts).toMatchObject({ train: 18, heldOut: 2 });
    expect(state(store).prompts[0]).toMatch(/^Row \d of some text$/);
    expect(state(store).promptForm).toBe("text");
    state(store).choose({ text: "One.\nTwo.", data: { kind: "written" } });
    await until(store, ({ facts, phase }) => phase === "ready" && facts?.train === 2);
    expect(worker.opened.at(-1)!.run).toMatchObject({ train: { eval_split: null } });
  });
});

describe("rows of one's own", () => {
  const csv = new File(["Frage,Antwort\nWer?,Ich.\nWas?,Das.\nWer?,Ich.\n"], "a.csv");

  it("wait until it is said what their columns mean, and are edited", async () => {
    const { worker, store } = opened();
    state(store).choose({ data: { kind: "files", files: [csv] } });
    await until(store, ({ phase, dataProblem }) => phase === "choosing" && dataProblem !== undefined);
    expect(state(store).problem).toBeUndefined();
    expect(state(store).facts).toMatchObject({ shape: undefined, guess: { user: "{Frage}" } });
    state(store).read({ column_mapping: { prompt: "{Frage}", completion: "{Antwort}" } });
    await reaches(store, "ready");
    expect(state(store).facts).toMatchObject({ train: 3, duplicates: 1, shape: { kind: "mapping" } });
    expect(await state(store).editData({ kind: "remove-duplicates" })).toBeUndefined();
    await until(store, ({ phase, facts }) => phase === "ready" && facts?.train === 2);
    expect(await state(store).dataLines(0, 9)).toMatchObject({ value: [{ cells: ["Wer?", "Ich."] }, {}] });
    // What was said of these columns is not said of other data.
    state(store).choose({ data: { kind: "bundled", id: "capitals" } });
    await reaches(store, "ready");
    expect(worker.opened.at(-1)!.run).not.toHaveProperty("train.column_mapping");
  });

  it("are read as a run file says, whichever comes first", async () => {
    const { store } = opened();
    const run = { train: { column_mapping: { text: "{Antwort}" }, max_steps: 5 } };
    await state(store).readRun(new File([JSON.stringify(run)], "run.json"));
    expect(state(store).settings.train).toEqual({ max_steps: 5 });
    state(store).choose({ data: { kind: "files", files: [csv] } });
    await reaches(store, "ready");
    expect(state(store).facts?.preview[0]).toEqual({ text: "Ich." });
  });
});
