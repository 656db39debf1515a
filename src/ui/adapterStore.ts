/** Adapters on the model that is chosen: opened, looked at, weighed against each other, and asked. It knows no React. */
import { createStore, type StoreApi } from "zustand/vanilla";
import { failure } from "../base/errors.ts";
import { runsOf } from "../base/runs.ts";
import { plural } from "../base/words.ts";
import type {
  AdapterSource,
  AdapterUse,
  BaseFacts,
  Failure,
  OpenedAdapterFacts,
  ParameterChange,
  Progress,
  Result,
  TrainApi,
} from "../worker/api.ts";
import { type AskedPrompt, askingWords, SideBySide } from "./asking.ts";
import { stepsBehind } from "./askingSlice.ts";
import type { Bundle } from "./bundle.ts";
import { counted, strengthWords } from "./format.ts";
import { Latest } from "./latest.ts";
import { isTraining, type PageState, questionOf } from "./pageState.ts";

export interface HeldAdapter {
  /** The page's own name for it: the worker's changes when another model is chosen. */
  readonly key: number;
  readonly source: AdapterSource;
  readonly label: string;
  /** Absent while it is read. */
  readonly opened: Result<OpenedAdapterFacts> | undefined;
  /** How far that is, where it takes a while. */
  readonly progress: Progress | undefined;
  /** From 0, where the base answers, over 1, as it was trained, to 2. */
  readonly strength: number;
  readonly layersOff: readonly number[];
  /** Whether what it changes outside the layers is off. */
  readonly isRestOff: boolean;
  /** How far it takes each parameter; absent until it was asked for and answered. */
  readonly changes: Result<readonly ParameterChange[]> | undefined;
}

/** Of an adapter that is not read yet. */
const UNREAD = { opened: undefined, progress: undefined, changes: undefined };

/** What was asked last, and of which adapters. */
export interface AskedAdapters {
  /** `“capitals” at 100 % + “pirate” at 50 %`. */
  readonly words: string;
  /** How, as `askingWords` says it. */
  readonly how: string;
  readonly answers: readonly AskedPrompt[];
}

export interface AdapterState {
  /** Absent until an adapter was added. */
  readonly base: Result<BaseFacts> | undefined;
  readonly held: readonly HeldAdapter[];
  readonly asked: AskedAdapters | undefined;
  readonly isAsking: boolean;
  readonly progress: Progress | undefined;
  readonly problem: Failure | undefined;
  add(sources: readonly AdapterSource[]): Promise<void>;
  /** Opens the model that is chosen now as the base, and all adapters on it. Without adapters the base waits for one. */
  reopen(): Promise<void>;
  /** The adapter of the page's own run, as it would be downloaded now. */
  addTrained(): Promise<void>;
  /** Lets go of one that is being read and has told how far it is. */
  stopOpening(key: number): void;
  /** Reads one again that was stopped. */
  openAgain(key: number): Promise<void>;
  remove(key: number): void;
  setStrength(key: number, strength: number): void;
  setLayersOff(key: number, layersOff: readonly number[]): void;
  setRestOff(key: number, isRestOff: boolean): void;
  /** This one at its full strength, and no other. */
  only(key: number): void;
  askChanges(key: number): Promise<void>;
  /** The base and the adapters together answer the page's prompts. */
  ask(): Promise<void>;
  /** Asks once more where something was asked of other adapters, or of these at other strengths; not beside training. */
  askAgain(): void;
  stop(): void;
}

export function isUsable({ opened }: HeldAdapter): boolean {
  return opened?.ok === true && opened.value.fit.ok;
}

/** Those that take part, as the worker is told. */
export function usesOf(held: readonly HeldAdapter[]): AdapterUse[] {
  return held.flatMap((adapter) => {
    if (!adapter.opened?.ok || !isUsable(adapter) || adapter.strength === 0) return [];
    const { strength, layersOff, isRestOff } = adapter;
    return [{ id: adapter.opened.value.id, strength, layersOff, isRestOff }];
  });
}

export function usesWords(held: readonly HeldAdapter[]): string {
  const used = held.filter((adapter) => isUsable(adapter) && adapter.strength > 0);
  const words = used.map(({ label, strength, layersOff, isRestOff }) => {
    const off = [
      ...(layersOff.length > 0 ? [layersWords(layersOff)] : []),
      ...(isRestOff ? ["what lies outside the layers"] : []),
    ];
    const without = off.length > 0 ? ` without ${off.join(" and ")}` : "";
    return `“${label}” at ${strengthWords(strength)}${without}`;
  });
  return words.join(" + ") || "no adapter";
}

/** `layer 3`; `layers 0–4, 7`. */
function layersWords(layers: readonly number[]): string {
  return `${plural(layers.length, "layer")} ${runsOf(layers).join(", ")}`;
}

export function createAdapterStore(
  worker: TrainApi,
  page: StoreApi<PageState>,
  bundle: Bundle,
): StoreApi<AdapterState> {
  let keys = 0;
  const openings = new Latest();
  const asks = new Latest();
  const sideBySide = new SideBySide(worker);
  /** Of what was asked last, answered or not. */
  let askedOf: string | undefined;

  const store = createStore<AdapterState>()((set, get) => {
    function change(key: number, changes: Partial<HeldAdapter>): void {
      set({
        held: get().held.map((adapter) => (adapter.key === key ? { ...adapter, ...changes } : adapter)),
      });
    }

    async function openOne({ key, source }: HeldAdapter, isLatest: () => boolean): Promise<void> {
      let opened: Result<OpenedAdapterFacts> | undefined;
      opened = await worker.openAdapter(source, (progress) => {
        // It travels by another port than the answer, and may come after it.
        if (isLatest() && !opened) change(key, { progress });
      });
      if (!isLatest()) return;
      // It may have been removed meanwhile.
      if (opened.ok && !get().held.some((held) => held.key === key))
        void worker.closeAdapter(opened.value.id);
      change(key, { opened, progress: undefined, ...(opened.ok ? { label: opened.value.label } : {}) });
    }

    /** Only one is read at a time: that which has told how far it is. */
    function stopOpening(held: readonly HeldAdapter[]): void {
      if (held.some(({ progress }) => progress !== undefined)) void worker.stopOpeningAdapter();
    }

    function hold(sources: readonly AdapterSource[]): readonly HeldAdapter[] {
      const added = sources.map((source): HeldAdapter => {
        const label = "label" in source ? source.label : source.name;
        return { key: ++keys, source, label, strength: 1, layersOff: [], isRestOff: false, ...UNREAD };
      });
      set({ held: [...get().held, ...added] });
      return added;
    }

    return {
      ...{ base: undefined, held: [], asked: undefined, isAsking: false },
      ...{ progress: undefined, problem: undefined },
      add: async (sources) => {
        const added = hold(sources);
        if (!get().base?.ok) {
          await get().reopen();
          return;
        }
        const isLatest = openings.current();
        for (const adapter of added) await openOne(adapter, isLatest);
      },
      reopen: async () => {
        const isLatest = openings.begin();
        sideBySide.forget();
        get().stop();
        askedOf = undefined;
        stopOpening(get().held);
        const unread = get().held.map((adapter) => ({ ...adapter, ...UNREAD }));
        set({ held: unread, base: undefined, asked: undefined, problem: undefined });
        if (unread.length === 0) return;
        let base: Result<BaseFacts>;
        try {
          base = await worker.openBase(page.getState().choices.model ?? (await bundle.model()));
        } catch (thrown) {
          base = failure(thrown);
        }
        if (!isLatest()) return;
        set({ base });
        if (!base.ok) return;
        for (const adapter of unread) await openOne(adapter, isLatest);
      },
      addTrained: async () => {
        const trained = await page.getState().takeAdapter();
        if (!trained) return;
        const files = trained.files.map(({ name, blob }) => new File([blob], name));
        const steps = stepsBehind(page.getState());
        const label = `trained here${steps > 0 ? `, ${counted(steps, "step")}` : ""}`;
        await get().add([{ label, files }]);
      },
      stopOpening: (key) => stopOpening(get().held.filter((adapter) => adapter.key === key)),
      openAgain: async (key) => {
        const adapter = get().held.find((held) => held.key === key);
        if (adapter?.opened?.ok !== false) return;
        change(key, UNREAD);
        await openOne(adapter, openings.current());
      },
      remove: (key) => {
        const adapter = get().held.find((held) => held.key === key);
        get().stopOpening(key);
        set({ held: get().held.filter((held) => held.key !== key) });
        if (adapter?.opened?.ok) void worker.closeAdapter(adapter.opened.value.id);
      },
      setStrength: (key, strength) => change(key, { strength }),
      setLayersOff: (key, layersOff) => change(key, { layersOff }),
      setRestOff: (key, isRestOff) => change(key, { isRestOff }),
      only: (key) =>
        set({ held: get().held.map((adapter) => ({ ...adapter, strength: adapter.key === key ? 1 : 0 })) }),
      askChanges: async (key) => {
        const adapter = get().held.find((held) => held.key === key);
        if (!adapter?.opened?.ok || adapter.changes) return;
        const isSameBase = openings.current();
        const changes = await worker.adapterChanges(adapter.opened.value.id);
        if (isSameBase()) change(key, { changes });
      },
      ask: async () => {
        get().stop();
        const isLatest = asks.begin();
        const question = questionOf(page.getState());
        if (question.prompts.length === 0) return;
        const words = usesWords(get().held);
        const how = askingWords(question);
        askedOf = words;
        set({ isAsking: true, progress: undefined, problem: undefined });
        const failed = await sideBySide.ask(
          question,
          { base: { adapters: [] }, tuned: { adapters: usesOf(get().held) } },
          {
            onProgress: (progress) => isLatest() && set({ progress }),
            onAnswers: (answers) => set({ asked: { words, how, answers } }),
            isStopped: () => !isLatest(),
          },
        );
        if (isLatest()) set({ isAsking: false, progress: undefined, problem: failed });
      },
      askAgain: () => {
        const isOther = askedOf !== undefined && askedOf !== usesWords(get().held);
        if (isOther && !isTraining(page.getState().phase)) void get().ask();
      },
      stop: () => {
        if (!get().isAsking) return;
        asks.end();
        set({ isAsking: false, progress: undefined });
        void worker.stopAnswers();
      },
    };
  });

  page.subscribe(({ choices, problem }, before) => {
    const isOther = choices.model !== before.choices.model;
    const isLost = problem !== before.problem && problem?.code === "device-lost";
    if (isOther || isLost) void store.getState().reopen();
  });
  return store;
}
