/** What the page knows and can do, in the slices that the store is made of (store.ts). */
import type { Json, JsonObject } from "../base/json.ts";
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
  Result,
  RunSummary,
  SampleReport,
  StepReport,
  TargetPreview,
  TrainOutcome,
} from "../worker/api.ts";
import type { AnswerSettings, Asked, PromptForm, Question, Scores } from "./asking.ts";
import { BUNDLED_NAME } from "./bundle.ts";
import { Curves } from "./curves.ts";
import type { Choices } from "./material.ts";
import type { FormField, Reading, Section, Settings } from "./settings.ts";

/** What is trained, on what, and how. */
export interface ChoicesSlice {
  readonly choices: Choices;
  readonly settings: Settings;
  /** Whether they were changed by hand, or read from a file: then another data set leaves them as they are. */
  readonly settingsAreOwn: boolean;
  /** Whether a run file stated `lora`: then it must be that of an adapter to go on from; otherwise it gives way to it. */
  readonly loraIsOfRun: boolean;
  /** What is wrong with what was typed, by the setting's key. */
  readonly mistakes: Readonly<Record<string, string>>;
  /** What the settings come to on the model, or why that cannot be said; absent until the worker has answered. */
  readonly targets: Result<TargetPreview> | undefined;
  /** Of the rows that were read last. */
  readonly facts: DataFacts | undefined;
  /** Why there are none, or why they cannot be trained on as they are. */
  readonly dataProblem: Failure | undefined;
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
}

/**
 * choosing: something is missing or was refused. opening: files are read and the run is planned. ready: it can begin.
 * preparing: the model is loaded and kernels are compiled. done: no step is left, or the user stopped it.
 */
export type Phase = "choosing" | "opening" | "ready" | "preparing" | "training" | "paused" | "done";

/** The run, from its plan to its last step. */
export interface RunSlice {
  readonly phase: Phase;
  /** Absent until the worker has answered. */
  readonly device: Result<DeviceFacts> | undefined;
  readonly summary: RunSummary | undefined;
  /** What the device was asked for, measured when the first report came. */
  readonly memory: MemoryEstimate | undefined;
  readonly progress: Progress | undefined;
  /** Filled as reports come; `recorded` counts how often. */
  readonly curves: Curves;
  readonly recorded: number;
  readonly last: StepReport | undefined;
  /** The held-out rows' loss, before the first step and now. */
  readonly heldOut: { readonly first: EvaluationReport; readonly last: EvaluationReport } | undefined;
  /** What the first step has moved. */
  readonly audit: AuditReport | undefined;
  /** What the prompts were answered with while it trained. */
  readonly samples: readonly SampleReport[];
  /** How far the run had come when it last stood still. */
  readonly outcome: TrainOutcome | undefined;
  readonly problem: Failure | undefined;
  /** It was told to stand still, and will after what is under way. */
  readonly isHalting: boolean;
  train(): Promise<void>;
  pause(): void;
  stop(): void;
}

/** What the models are asked, and what they say. */
export interface AskingSlice {
  readonly prompts: readonly string[];
  /** Whether they were written by hand: then other rows leave them as they are. */
  readonly promptsAreOwn: boolean;
  readonly promptForm: PromptForm;
  readonly answerSettings: AnswerSettings;
  /** Of the adapter when it answers: 0 is the base, 1 as it was trained, 2 the most. */
  readonly strength: number;
  /** Whether the prompts are answered while the model trains, too. */
  readonly asksWhileTraining: boolean;
  /** What the worker is busy with beside training. */
  readonly asking: "answers" | "scores" | undefined;
  readonly asked: Asked | undefined;
  readonly scores: Scores | undefined;
  setPrompts(prompts: readonly string[], form?: PromptForm): void;
  setAnswering(settings: Partial<AnswerSettings>): void;
  setStrength(strength: number): void;
  askWhileTraining(on: boolean): void;
  /** Both models answer the prompts, or the base alone while nothing is trained. */
  ask(): Promise<void>;
  score(): Promise<void>;
  stopAsking(): void;
}

/** An adapter whose run has ended. */
export interface Adapter extends Exported {
  readonly name: string;
}

/** What the run has trained, to be taken away. */
export interface ExportsSlice {
  /** Of the last run that ended. */
  readonly adapter: Adapter | undefined;
  readonly isSaved: boolean;
  /** The adapter as it is now, or undefined with `problem` set. */
  takeAdapter(): Promise<Adapter | undefined>;
  exportChoices(): Promise<Result<readonly ExportChoice[]>>;
  exportAs(format: ExportFormat, onProgress: (progress: Progress) => void): Promise<Result<Exported>>;
  stopExport(): void;
  /** The adapter was handed to the user. */
  saved(): void;
}

export interface PageState extends ChoicesSlice, RunSlice, AskingSlice, ExportsSlice {}

/** What is known of a run while there is none. */
export function noRun() {
  return {
    ...{ summary: undefined, memory: undefined, progress: undefined, last: undefined, heldOut: undefined },
    ...{ asked: undefined, scores: undefined, curves: new Curves(), recorded: 0 },
    ...{ samples: [], outcome: undefined, audit: undefined, isHalting: false },
  };
}

/** What the base model is called. */
export function modelName({ choices }: Pick<PageState, "choices">): string {
  return choices.model?.label ?? BUNDLED_NAME;
}

/** What the page would ask now. */
export function questionOf({ prompts, promptForm: form, answerSettings: settings }: PageState): Question {
  return { prompts: prompts.filter((prompt) => prompt.trim() !== ""), form, settings };
}

/** Nothing can be chosen while a run is under way. */
export function isLocked(phase: Phase): boolean {
  return isTraining(phase) || phase === "paused";
}

/** Nothing is answered while the device trains. */
export function isTraining(phase: Phase): boolean {
  return phase === "preparing" || phase === "training";
}

/** What decides what a run is told of LoRA. */
type LoraChoice = Pick<ChoicesSlice, "choices" | "settings" | "loraIsOfRun">;

/** The settings as a run is opened with them: an adapter to go on from brings its own for LoRA. */
export function runSettings({ choices, settings, loraIsOfRun }: LoraChoice): Settings {
  return choices.adapter && !loraIsOfRun ? { ...settings, lora: {} } : settings;
}

/** Whether an adapter to go on from decides the setting. */
export function isOfAdapter(state: LoraChoice, { section, key }: FormField): boolean {
  return (
    section === "lora" && state.choices.adapter !== undefined && !Object.hasOwn(runSettings(state).lora, key)
  );
}
