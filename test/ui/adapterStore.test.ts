import { describe, expect, it } from "vitest";
import { createAdapterStore, usesOf, usesWords } from "../../src/ui/adapterStore.ts";
import { askingWords } from "../../src/ui/asking.ts";
import type { Bundle } from "../../src/ui/bundle.ts";
import { questionOf } from "../../src/ui/pageState.ts";
import { createPageStore } from "../../src/ui/store.ts";
import type { AdapterSource, Failure } from "../../src/worker/api.ts";
import { RecordedWorker } from "./recordedWorker.ts";

const bundle: Bundle = {
  model: async () => ({ label: "toy", files: [] }),
  rows: async (name) => new File(['{"text": "a row"}\n'], name),
};
const zip = (name: string): AdapterSource => new File([], name);

function opened() {
  const answer = (_: string, asBase: boolean) => (asBase ? "base" : "tuned");
  const worker = new RecordedWorker({ batches: [], intervalMs: 5, steps: 0, answer });
  const page = createPageStore(worker, bundle);
  const store = createAdapterStore(worker, page, bundle);
  return { worker, page, store, state: () => store.getState() };
}

describe("the page's adapters", () => {
  it("are opened on the model that is chosen, and on another one when that is chosen", async () => {
    const { worker, page, state } = opened();
    await state().add([zip("one.zip"), zip("two.zip")]);
    expect(worker.bases).toEqual(["toy"]);
    expect(state().held.map(({ label, strength }) => [label, strength])).toEqual([
      ["one.zip", 1],
      ["two.zip", 1],
    ]);
    const ids = () => usesOf(state().held).map(({ id }) => id);
    expect(ids()).toEqual([1, 2]);
    page.getState().choose({ model: { label: "other", files: [] } });
    await expect.poll(ids).toEqual([3, 4]);
    expect(worker.bases).toEqual(["toy", "other"]);
  });

  it("are opened on the model that is chosen, also where none was left when it was", async () => {
    const { worker, page, state } = opened();
    await state().add([zip("one.zip")]);
    state().remove(state().held[0]!.key);
    page.getState().choose({ model: { label: "other", files: [] } });
    expect(state().base).toBeUndefined();
    await state().add([zip("two.zip")]);
    expect(worker.bases).toEqual(["toy", "other"]);
  });

  it("count as much as their sliders say, without the layers that are off", async () => {
    const { state } = opened();
    await state().add([zip("one.zip"), zip("two.zip")]);
    const [one, two] = state().held.map(({ key }) => key);
    state().setStrength(one!, 0.5);
    state().setLayersOff(two!, [1]);
    expect(usesOf(state().held)).toEqual([
      { id: 1, strength: 0.5, layersOff: [], isRestOff: false },
      { id: 2, strength: 1, layersOff: [1], isRestOff: false },
    ]);
    expect(usesWords(state().held)).toBe("“one.zip” at 50 % + “two.zip” at 100 % without layer 1");
    state().setLayersOff(two!, [5, 0, 2, 1]);
    expect(usesWords(state().held)).toBe("“one.zip” at 50 % + “two.zip” at 100 % without layers 0–2, 5");
    state().setRestOff(two!, true);
    expect(usesOf(state().held)[1]).toMatchObject({ layersOff: [5, 0, 2, 1], isRestOff: true });
    expect(usesWords(state().held)).toMatch(/ without layers 0–2, 5 and what lies outside the layers$/);
    state().only(one!);
    expect(usesOf(state().held)).toEqual([{ id: 1, strength: 1, layersOff: [], isRestOff: false }]);
    state().setStrength(one!, 0);
    expect(usesWords(state().held)).toBe("no adapter");
  });

  it("answer anew when they count otherwise, once something was asked, but not beside training", async () => {
    const { worker, page, state } = opened();
    page.getState().setPrompts(["Who?"]);
    await state().add([zip("one.zip")]);
    const { key } = state().held[0]!;
    state().setStrength(key, 0.5);
    state().askAgain();
    expect(state().isAsking).toBe(false);
    const first = state().ask();
    state().setStrength(key, 2);
    state().askAgain();
    await first;
    await expect.poll(() => state().isAsking).toBe(false);
    expect(state().asked?.words).toBe("“one.zip” at 200 %");
    const answered = worker.asked.length;
    state().askAgain();
    page.setState({ phase: "training" });
    state().setStrength(key, 1);
    state().askAgain();
    expect(state().isAsking).toBe(false);
    expect(worker.asked.length).toBe(answered);
  });

  it("answer beside the base, which is not asked the same twice", async () => {
    const { worker, page, state } = opened();
    page.getState().setPrompts(["Who?"]);
    await state().add([zip("one.zip")]);
    await state().ask();
    expect(state().asked).toEqual({
      words: "“one.zip” at 100 %",
      how: "put as questions and answered greedily",
      answers: [{ prompt: "Who?", base: "base", tuned: "tuned" }],
    });
    state().setStrength(state().held[0]!.key, 2);
    await state().ask();
    expect(worker.asked.map(({ adapters }) => adapters)).toEqual([
      [],
      [{ id: 1, strength: 1, layersOff: [], isRestOff: false }],
      [{ id: 1, strength: 2, layersOff: [], isRestOff: false }],
    ]);
    page.getState().setAnswering({ seed: 2 });
    await state().ask();
    expect(worker.asked.at(-2)!.adapters).toEqual([]);
  });

  it("tell how they were asked, in words that differ where answers may", async () => {
    const { page, state } = opened();
    page.getState().setPrompts(["Who?"]);
    await state().add([zip("one.zip")]);
    await state().ask();
    const now = () => askingWords(questionOf(page.getState()));
    const { setAnswering, setPrompts } = page.getState();
    setPrompts(["Who?", "Why?"]);
    // What is drawn with no seed does not depend on it.
    setAnswering({ seed: 2, temperature: 0.5 });
    expect(now()).toBe(state().asked?.how);
    setAnswering({ do_sample: true });
    expect(now()).toBe("put as questions and sampled at temperature 0.5 with seed 2");
    await state().ask();
    expect(now()).toBe(state().asked?.how);
    setAnswering({ seed: 3 });
    expect(now()).not.toBe(state().asked?.how);
    setAnswering({ seed: 2 });
    setPrompts(["Who?"], "text");
    expect(now()).toBe("put as text to go on with and sampled at temperature 0.5 with seed 2");
  });

  it("tell how far they take each weight when that is asked for", async () => {
    const { state } = opened();
    await state().add([zip("one.zip")]);
    expect(state().held[0]!.changes).toBeUndefined();
    await state().askChanges(state().held[0]!.key);
    expect(state().held[0]!.changes).toMatchObject({ ok: true, value: [{ change: 1, base: 4 }] });
  });

  it("are closed when they are removed, also while they are read", async () => {
    const { worker, state } = opened();
    await state().add([zip("one.zip")]);
    state().remove(state().held[0]!.key);
    expect([state().held, worker.closed]).toEqual([[], [1]]);
    const adding = state().add([zip("two.zip")]);
    state().remove(state().held[0]!.key);
    await adding;
    expect(worker.closed).toEqual([1, 2]);
  });

  it("tell how far their reading is, are let go of, and are read again", async () => {
    const { worker, state } = opened();
    const one = () => state().held[0]!;
    worker.decomposes = true;
    const adding = state().add([zip("one.zip"), zip("two.zip")]);
    await expect.poll(() => one().progress).toEqual({ stage: "start", done: 0, total: 2 });
    // The other waits: it is not the one that would be stopped.
    state().stopOpening(state().held[1]!.key);
    expect(one().opened).toBeUndefined();
    state().stopOpening(one().key);
    await expect.poll(() => one().opened).toMatchObject({ ok: false, code: "stopped" });
    expect(one().progress).toBeUndefined();
    await expect.poll(() => state().held[1]!.progress).toBeDefined();
    worker.endDecomposing();
    await adding;
    expect(usesOf(state().held).map(({ id }) => id)).toEqual([1]);
    const again = state().openAgain(one().key);
    expect(one().opened).toBeUndefined();
    await expect.poll(() => one().progress).toBeDefined();
    worker.endDecomposing();
    await again;
    expect(usesOf(state().held).map(({ id }) => id)).toEqual([2, 1]);
    expect(one().progress).toBeUndefined();
  });

  it("are let go of where they are removed while they are read, and where another model is chosen", async () => {
    const { worker, page, state } = opened();
    worker.decomposes = true;
    const adding = state().add([zip("one.zip")]);
    await expect.poll(() => state().held[0]!.progress).toBeDefined();
    state().remove(state().held[0]!.key);
    await adding;
    expect([state().held, worker.closed]).toEqual([[], []]);
    const next = state().add([zip("two.zip")]);
    await expect.poll(() => state().held[0]!.progress).toBeDefined();
    page.getState().choose({ model: { label: "other", files: [] } });
    await next;
    await expect.poll(() => state().held[0]!.progress).toBeDefined();
    worker.endDecomposing();
    await expect.poll(() => usesOf(state().held).length).toBe(1);
    expect(worker.bases).toEqual(["toy", "other"]);
  });

  it("say why the base cannot be opened, and try again with the next", async () => {
    const { worker, state } = opened();
    const refusal: Failure = { ok: false, code: "no", message: "It is broken.", remedy: "" };
    worker.refusal = refusal;
    await state().add([zip("one.zip")]);
    expect(state().base).toBe(refusal);
    worker.refusal = undefined;
    await state().add([zip("two.zip")]);
    expect(usesOf(state().held).map(({ id }) => id)).toEqual([1, 2]);
  });
});
