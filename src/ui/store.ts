/** What the page knows and can do. It knows no React and no document, only the worker that it asks. */
import { createStore, type StoreApi } from "zustand/vanilla";
import { failure } from "../base/errors.ts";
import type { Json, JsonObject } from "../base/json.ts";
import { readJsonObject } from "../base/read-json.ts";
import { blobSource } from "../formats/sources.ts";
import type {
  AuditReport,
  DataEdit,
  DataFacts,
  DeviceFacts,
  EvaluationReport,
  ExportChoice,
  Exported,
  ExportFormat,
  Failure,
  MemoryEstimate,
  Progress,
  RecordLine,
  RecordView,
  Report,
  Result,
  RunSummary,
  SampleReport,
  StepReport,
  TargetPreview,
  TrainApi,
  TrainOutcome,
} from "../worker/api.ts";
import {
  type AnswerSettings,
  type Asked,
  answerChecks,
  checksOf,
  FIRST_ANSWER_SETTINGS,
  type PromptForm,
  type Question,
  type Scores,
  SideBySide,
  samplesOf,
} from "./asking.ts";
import { BUNDLED_NAME, type Bundle } from "./bundle.ts";
import { Curves } from "./curves.ts";
import {
  bundledSetOf,
  type Choices,
  dataRequestFor,
  FIRST_CHOICES,
  heldOutShare,
  isChosen,
  type Reading,
  recommendedFor,
  requestFor,
} from "./material.ts";
import { keepTargets } from "./previewing.ts";
import { promptsFrom } from "./rows.ts";
import { changed, partsOf, type Section, type Settings, settingsOf } from "./settings.ts";

/**
 * choosing: something is missing or was refused. opening: files are read and the run is planned. ready: it can begin.
 * preparing: the model is loaded and kernels are compiled. done: no step is left, or the user stopped it.
 */
export type Phase = "choosing" | "opening" | "ready" | "preparing" | "training" | "paused" | "done";

/** An adapter whose run has ended. */
export interface Adapter extends Exported {
  readonly name: string;
}

export interface PageState {
  readonly phase: Phase;
  readonly choices: Choices;
  readonly settings: Settings;
  /** Whether they were changed by hand, or read from a file: then another data set leaves them as they are. */
  readonly settingsAreOwn: boolean;
  /** What is wrong with what was typed, by the setting's key. */
  readonly mistakes: Readonly<Record<string, string>>;
  /** Absent until the worker has answered. */
  readonly device: Result<DeviceFacts> | undefined;
  readonly summary: RunSummary | undefined;
  /** What the settings come to on the model, or why that cannot be said; absent until the worker has answered. */
  readonly targets: Result<TargetPreview> | undefined;
  /** What the device was asked for, measured when the first report came. */
  readonly memory: MemoryEstimate | undefined;
  readonly progress: Progress | undefined;
  /** Filled as reports come; `recorded` counts how often. */
  readonly curves: Curves;
  readonly recorded: number;
  readonly last: StepReport | undefined;
  /** The held-out rows' loss, before the first step and now. */
  readonly heldOut: { readonly first: EvaluationReport; readonly last: EvaluationReport } | undefined;
  /** Of the rows that were read last. */
  readonly facts: DataFacts | undefined;
  /** Why there are none, or why they cannot be trained on as they are. */
  readonly dataProblem: Failure | undefined;
  /** What the first step has moved. */
  readonly audit: AuditReport | undefined;
  readonly prompts: readonly string[];
  /** Whether they were written by hand: then other rows leave them as they are. */
  readonly promptsAreOwn: boolean;
  readonly promptForm: PromptForm;
  readonly answerSettings: AnswerSettings;
  /** Of the adapter when it answers: 0 is the base, 1 as it was trained, 2 the most. */
  readonly strength: number;
  /** Whether the prompts are answered while the model trains, too. */
  readonly asksWhileTraining: boolean;
  /** What they were answered with. */
  readonly samples: readonly SampleReport[];
  /** How far the run had come when it last stood still. */
  readonly outcome: TrainOutcome | undefined;
  /** What the worker is busy with beside training. */
  readonly asking: "answers" | "scores" | undefined;
  readonly asked: Asked | undefined;
  readonly scores: Scores | undefined;
  /** Of the last run that ended. */
  readonly adapter: Adapter | undefined;
  readonly isSaved: boolean;
  readonly problem: Failure | undefined;
  choose(choice: Partial<Choices>): void;
  /** Says how rows are read, by the run file's keys. */
  read(reading: Reading): void;
  /** Changes rows; undefined where that could be done. */
  editData(edit: DataEdit): Promise<Failure | undefined>;
  dataLines(first: number, count: number): Promise<Result<readonly RecordLine[]>>;
  dataRecord(record: number): Promise<Result<RecordView>>;
  set(section: Section, key: string, value: Json): void;
  /** Several settings of `lora` at once. */
  setLora(values: JsonObject): void;
  /** A value that was typed and is none; undefined takes it back. */
  mistake(key: string, what: string | undefined): void;
  useRecommended(): void;
  /** Takes the settings of a run file. */
  readRun(file: File): Promise<void>;
  train(): Promise<void>;
  pause(): void;
  stop(): void;
  setPrompts(prompts: readonly string[], form?: PromptForm): void;
  setAnswering(settings: Partial<AnswerSettings>): void;
  setStrength(strength: number): void;
  askWhileTraining(on: boolean): void;
  /** Both models answer the prompts, or the base alone while nothing is trained. */
  ask(): Promise<void>;
  score(): Promise<void>;
  stopAsking(): void;
  /** The adapter as it is now, or undefined with `problem` set. */
  takeAdapter(): Promise<Adapter | undefined>;
  exportChoices(): Promise<Result<readonly ExportChoice[]>>;
  exportAs(format: ExportFormat, onProgress: (progress: Progress) => void): Promise<Result<Exported>>;
  stopExport(): void;
  /** The adapter was handed to the user. */
  saved(): void;
}

/** What the base model is called. */
export function modelName({ choices }: Pick<PageState, "choices">): string {
  return choices.model?.label ?? BUNDLED_NAME;
}

/** Typing is not opened letter by letter. */
const TYPING_MS = 300;

function noRun() {
  return {
    ...{ summary: undefined, memory: undefined, progress: undefined, last: undefined, heldOut: undefined },
    ...{ asked: undefined, scores: undefined, curves: new Curves(), recorded: 0 },
    ...{ samples: [], outcome: undefined, audit: undefined },
  };
}

/** Steps that the tuned model has behind it. */
function stepsBehind({ outcome, last }: PageState): number {
  return outcome?.adapterStep ?? last?.step ?? 0;
}

/** What the page would ask now. */
export function questionOf({ prompts, promptForm: form, answerSettings: settings }: PageState): Question {
  return { prompts: prompts.filter((prompt) => prompt.trim() !== ""), form, settings };
}

/** Nothing can be chosen while a run is under way. */
export function isLocked(phase: Phase): boolean {
  return phase === "preparing" || phase === "training" || phase === "paused";
}

export function createPageStore(worker: TrainApi, bundle: Bundle): StoreApi<PageState> {
  let opens = 0;
  let asks = 0;
  let stopping = false;
  const sideBySide = new SideBySide(worker);
  let typing: ReturnType<typeof setTimeout> | undefined;
  /** What a run file said of how rows are read: other data is read so, too. */
  let readingOfRun: Reading = {};

  const store = createStore<PageState>()((set, get) => {
    /** The run as it is chosen now is planned; what was open is ended. */
    async function open(delayMs = 0): Promise<void> {
      const asked = ++opens;
      clearTimeout(typing);
      endAsking();
      sideBySide.forget();
      void worker.stopOpening();
      const complete = isChosen(get().choices) && Object.keys(get().mistakes).length === 0;
      set({ ...noRun(), phase: complete ? "opening" : "choosing", problem: undefined });
      if (!complete) {
        set({ dataProblem: undefined, ...(isChosen(get().choices) ? {} : { facts: undefined }) });
        return;
      }
      if (delayMs > 0) await new Promise((resolve) => (typing = setTimeout(resolve, delayMs)));
      if (asked !== opens) return;
      let result: Result<RunSummary> | undefined;
      try {
        result = await opened(asked);
      } catch (thrown) {
        result = failure(thrown);
      }
      // Meanwhile something else was chosen: what counts is the answer to that.
      if (asked !== opens) return;
      set({ progress: undefined });
      if (result?.ok) set({ phase: "ready", summary: result.value });
      else set({ phase: "choosing", problem: result });
    }

    /** Rows are read, then the run is planned; undefined where the rows do not allow it. */
    async function opened(asked: number): Promise<Result<RunSummary> | undefined> {
      const onProgress = (progress: Progress) => asked === opens && set({ progress });
      const { choices, settings } = get();
      let request = await dataRequestFor(choices, settings, bundle);
      if (asked !== opens) return undefined;
      let read = await worker.readData(request, onProgress);
      const rowCount = read.ok ? read.value.train + (read.value.heldOut ?? 0) : 0;
      if (asked === opens && heldOutShare(choices, rowCount) !== heldOutShare(choices)) {
        request = await dataRequestFor(choices, settings, bundle, rowCount);
        read = await worker.readData(request, onProgress);
      }
      if (asked !== opens) return undefined;
      const isPlanned = takeFacts(read) && get().device?.ok !== false;
      if (!isPlanned) return undefined;
      const { asksWhileTraining, prompts, promptForm, answerSettings } = get();
      const samples = asksWhileTraining ? samplesOf(prompts, promptForm, answerSettings) : undefined;
      const whole = await requestFor(choices, request, bundle, samples);
      return asked === opens ? worker.open(whole, onProgress) : undefined;
    }

    /** Whether there are rows to train on. */
    function takeFacts(read: Result<DataFacts>): boolean {
      const facts = read.ok ? read.value : undefined;
      set({ facts, dataProblem: read.ok ? facts?.refusal : read });
      if (!facts || facts.refusal) return false;
      const { preview } = facts;
      if (bundledSetOf(get().choices) || get().promptsAreOwn || preview.length === 0) return true;
      const form = preview.some(({ question }) => question !== undefined) ? "chat" : "text";
      set({ prompts: promptsFrom(preview), promptForm: form });
      return true;
    }

    /** A run that can begin is planned anew, for it would ask otherwise; one that has begun is left alone. */
    function planSamples(): void {
      const { phase } = get();
      if (phase === "ready" || phase === "opening") void open(TYPING_MS);
    }

    async function measure(): Promise<void> {
      const of = opens;
      const memory = await worker.memory();
      if (of === opens && memory.ok) set({ memory: memory.value });
    }

    function take(reports: readonly Report[]): void {
      const { curves, phase, heldOut, last, recorded, samples } = get();
      curves.take(reports);
      if (recorded === 0) void measure();
      const evaluations = reports.filter((report) => "eval_loss" in report);
      const first = heldOut?.first ?? evaluations[0];
      set({
        phase: phase === "preparing" ? "training" : phase,
        recorded: recorded + 1,
        last: reports.findLast((report) => "loss" in report) ?? last,
        audit: reports.find((report) => "audit" in report) ?? get().audit,
        samples: [...samples, ...reports.filter((report) => "samples" in report)],
        heldOut: first && { first, last: evaluations.at(-1) ?? heldOut?.last ?? first },
      });
    }

    function endAsking(): void {
      if (get().asking === undefined) return;
      asks++;
      set({ asking: undefined, progress: undefined });
      void worker.stopAnswers();
    }

    /** What a run that has ended leaves behind: its adapter, what both models answer, and how they score. */
    async function conclude(): Promise<void> {
      set({ phase: "done" });
      const of = opens;
      const adapter = await get().takeAdapter();
      if (of !== opens || !adapter) return;
      set({ adapter, isSaved: false });
      await get().ask();
      if (of === opens && get().phase === "done" && !get().problem) await get().score();
    }

    return {
      phase: "choosing",
      choices: FIRST_CHOICES,
      settings: recommendedFor(FIRST_CHOICES),
      settingsAreOwn: false,
      mistakes: {},
      device: undefined,
      targets: undefined,
      ...noRun(),
      facts: undefined,
      dataProblem: undefined,
      promptsAreOwn: false,
      prompts: bundledSetOf(FIRST_CHOICES)?.prompts ?? [],
      promptForm: bundledSetOf(FIRST_CHOICES)?.kind ?? "text",
      answerSettings: FIRST_ANSWER_SETTINGS,
      strength: 1,
      asksWhileTraining: false,
      asking: undefined,
      adapter: undefined,
      isSaved: true,
      problem: undefined,
      choose: (choice) => {
        const { choices, settingsAreOwn, settings } = get();
        const isOtherData =
          choice.data && (choice.data.kind !== "written" || choices.data.kind !== "written");
        const fresh = isOtherData ? { reading: readingOfRun, skipsFaulty: false, heldOut: undefined } : {};
        const next = { ...choices, ...fresh, ...choice };
        const before = bundledSetOf(choices);
        const now = bundledSetOf(next);
        const isOther = before !== now || choices.model !== next.model;
        set({
          choices: next,
          settings: isOther && !settingsAreOwn ? recommendedFor(next) : settings,
          ...(now && before !== now
            ? { prompts: now.prompts, promptForm: now.kind, promptsAreOwn: false }
            : {}),
          ...(before && !now ? { prompts: [], promptsAreOwn: false } : {}),
          ...(isOtherData ? { facts: undefined, dataProblem: undefined } : {}),
        });
        void open("text" in choice || "ownRows" in choice ? TYPING_MS : 0);
      },
      read: (reading) => {
        set({ choices: { ...get().choices, reading: { ...get().choices.reading, ...reading } } });
        void open(TYPING_MS);
      },
      editData: async (edit) => {
        const result = await worker.editData(edit);
        if (!result.ok) return result;
        set({ facts: result.value });
        void open();
        return undefined;
      },
      dataLines: (first, count) => worker.dataLines(first, count),
      dataRecord: (record) => worker.dataRecord(record),
      set: (section, key, value) => {
        const { [key]: _, ...mistakes } = get().mistakes;
        set({ settings: changed(get().settings, section, key, value), settingsAreOwn: true, mistakes });
        void open(TYPING_MS);
      },
      setLora: (values) => {
        const { settings, mistakes } = get();
        const others = Object.entries(mistakes).filter(([key]) => !Object.hasOwn(values, key));
        set({
          settings: { ...settings, lora: { ...settings.lora, ...values } },
          settingsAreOwn: true,
          mistakes: Object.fromEntries(others),
        });
        void open(TYPING_MS);
      },
      mistake: (key, what) => {
        const { [key]: before, ...others } = get().mistakes;
        if (before === what) return;
        set({ mistakes: what === undefined ? others : { ...others, [key]: what } });
        void open(TYPING_MS);
      },
      useRecommended: () => {
        set({ settings: recommendedFor(get().choices), settingsAreOwn: false, mistakes: {} });
        void open();
      },
      readRun: async (file) => {
        // Until it is read nothing can begin.
        const asked = ++opens;
        set({ ...noRun(), phase: "opening", problem: undefined });
        try {
          const json = await readJsonObject(blobSource(file, file.name));
          const { settings, reading: stated } = partsOf(settingsOf(json, file.name));
          // Where it holds nothing out, nothing is.
          const reading = { eval_split: null, ...stated };
          if (asked !== opens) return;
          readingOfRun = reading;
          const choices = { ...get().choices, reading };
          set({ choices, settings, settingsAreOwn: true, mistakes: {} });
          await open();
        } catch (thrown) {
          if (asked === opens) set({ phase: "choosing", problem: failure(thrown) });
        }
      },
      train: async () => {
        endAsking();
        if (get().phase !== "ready" && get().phase !== "paused") await open();
        const { phase } = get();
        if (phase !== "ready" && phase !== "paused") return;
        stopping = false;
        const of = opens;
        set({
          phase: phase === "paused" ? "training" : "preparing",
          problem: undefined,
          progress: undefined,
          outcome: undefined,
        });
        if (phase === "ready")
          set({ adapter: undefined, isSaved: true, asked: undefined, scores: undefined });
        const result = await worker.train((progress) => set({ progress }), take);
        // The device was lost meanwhile, and that was told.
        if (of !== opens) return;
        if (result.ok) set({ outcome: result.value });
        if (!result.ok) {
          set({ phase: "choosing", problem: result });
        } else if (result.value.finished || (stopping && result.value.steps > 0)) {
          await conclude();
        } else {
          // Stopped before the first step: nothing is lost, it can still begin.
          set({ phase: result.value.steps > 0 ? "paused" : "ready" });
        }
      },
      pause: () => void worker.pause(),
      stop: () => {
        if (get().phase === "paused") {
          endAsking();
          void conclude();
          return;
        }
        if (get().phase === "opening") {
          void worker.stopOpening();
          return;
        }
        stopping = true;
        void worker.pause();
      },
      setPrompts: (prompts, form) => {
        set({ prompts, promptForm: form ?? get().promptForm, promptsAreOwn: true });
        if (get().asksWhileTraining) planSamples();
      },
      setAnswering: (settings) => {
        set({ answerSettings: { ...get().answerSettings, ...settings } });
        if (get().asksWhileTraining) planSamples();
      },
      setStrength: (strength) => set({ strength }),
      askWhileTraining: (on) => {
        set({ asksWhileTraining: on });
        planSamples();
      },
      ask: async () => {
        endAsking();
        const asked = ++asks;
        const question = questionOf(get());
        if (question.prompts.length === 0) return;
        const { strength } = get();
        const step = stepsBehind(get());
        set({ asking: "answers", progress: undefined });
        const adapters = strength === 1 ? undefined : [{ id: "run", strength } as const];
        const failed = await sideBySide.ask(
          question,
          { base: { asBase: true }, tuned: step > 0 ? { asBase: false, adapters } : undefined },
          {
            onProgress: (progress) => asked === asks && set({ progress }),
            onAnswers: (answers) => set({ asked: { step, strength, answers } }),
            isStopped: () => asked !== asks,
          },
        );
        if (asked !== asks) return;
        set({ asking: undefined, progress: undefined, ...(failed ? { problem: failed } : {}) });
      },
      score: async () => {
        const { choices } = get();
        const step = stepsBehind(get());
        const bundled = bundledSetOf(choices);
        if (bundled?.kind !== "chat" || step === 0) return;
        endAsking();
        const asked = ++asks;
        set({ asking: "scores", progress: undefined });
        const show = (scores: Omit<Scores, "step">) => set({ scores: { ...scores, step } });
        let result: Result<boolean>;
        try {
          const checks = await checksOf(bundled, choices.ownRows, bundle);
          if (asked !== asks) return;
          show({ checks, done: 0, total: 2 * checks.reduce((sum, { answers }) => sum + answers.length, 0) });
          result = await answerChecks(worker, checks, {
            onProgress: (progress) => asked === asks && set({ progress }),
            onChecks: (checked, done, total) => asked === asks && show({ checks: checked, done, total }),
            isStopped: () => asked !== asks,
          });
        } catch (thrown) {
          result = failure(thrown);
        }
        if (asked !== asks) return;
        set({ asking: undefined, progress: undefined, ...(result.ok ? {} : { problem: result }) });
      },
      stopAsking: endAsking,
      takeAdapter: async () => {
        const { adapter, phase } = get();
        if (adapter && phase !== "paused") return adapter;
        const result = await worker.export("peft", (progress) => set({ progress }));
        set({ progress: undefined });
        if (result.ok) return { ...result.value, name: `${modelName(get())}-lora.zip` };
        set({ problem: result });
        return undefined;
      },
      exportChoices: () => {
        // Whoever wants the files does not wait for more answers.
        endAsking();
        return worker.exportChoices();
      },
      exportAs: (format, onProgress) => {
        endAsking();
        return worker.export(format, onProgress);
      },
      stopExport: () => void worker.stopExport(),
      saved: () => set({ isSaved: true }),
    };
  });

  async function watchDevice(): Promise<void> {
    for (;;) {
      const lost = worker.deviceLost();
      const device = await worker.device();
      store.setState({ device });
      if (!device.ok) {
        // What is being opened would be refused for the same reason. Rows can be looked at all the same.
        store.getState().choose({});
      }
      const problem = await lost;
      opens++;
      asks++;
      store.setState({ ...noRun(), phase: "choosing", problem, asking: undefined });
      // Then it is the worker that is gone, and no other device to ask it for.
      if (problem.code !== "device-lost") return;
    }
  }
  void watchDevice();
  keepTargets(store, worker, bundle);
  store.getState().choose({});
  return store;
}
