/**
 * What the training worker can be asked. Plain data only, and no word of GPUs' own: whoever calls need not know how
 * the engine works. Whatever can be expected to fail comes back as a value, for classes do not cross to the page.
 */
import type { Failure, Result } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import type { RowLengths } from "../data/cuts.ts";
import type { Fault } from "../data/faults.ts";
import type { Message } from "../data/rows.ts";
import type { ParameterChange } from "../lora/changes.ts";
import type { Cost, PreviewedModule, PreviewFault, TargetPreview } from "../lora/preview.ts";
import type { AdapterFacts, AdapterFit, AdapterTensor } from "../train/adapterFacts.ts";
import type { RecordValues } from "../train/editTables.ts";
import type { ExportFormat } from "../train/exportFiles.ts";
import type { ExportChoice } from "../train/exports.ts";
import type { DataEdit, DataFacts, RecordLine } from "../train/openData.ts";
import type { GroupRates, TrainableTensor } from "../train/parameterGroups.ts";
import type { PreviewedSettings } from "../train/previewModel.ts";
import type { Prompt } from "../train/prompts.ts";
import type {
  AuditedTensor,
  AuditReport,
  AuditResult,
  EvaluationReport,
  Report,
  Sample,
  SampleReport,
  StepReport,
} from "../train/reports.ts";
import type { ShownRow } from "../train/rowTexts.ts";
import type { RowTokens } from "../train/rowTokens.ts";
import type { Sampling } from "../train/sampling.ts";
import type { SelfCheck } from "../train/selfCheck.ts";
import type { TrainOutcome } from "../train/session.ts";
import type { SessionSummary } from "../train/sessionSummary.ts";
import type { AdapterUse, OpenedAdapterFacts } from "../train/shelf.ts";
import type { MemoryEstimate } from "../train/trainer.ts";
import type { KeptFile } from "./exportStore.ts";

export type {
  AdapterFacts,
  AdapterFit,
  AdapterTensor,
  AdapterUse,
  AuditedTensor,
  AuditReport,
  AuditResult,
  Cost,
  DataEdit,
  DataFacts,
  EvaluationReport,
  ExportChoice,
  ExportFormat,
  Failure,
  Fault,
  GroupRates,
  KeptFile,
  MemoryEstimate,
  Message,
  OpenedAdapterFacts,
  ParameterChange,
  PreviewedModule,
  PreviewFault,
  Prompt,
  RecordLine,
  RecordValues,
  Report,
  Result,
  RowLengths,
  RowTokens,
  Sample,
  SampleReport,
  Sampling,
  SelfCheck,
  ShownRow,
  StepReport,
  TargetPreview,
  TrainableTensor,
  TrainOutcome,
};

export interface DeviceFacts {
  /** For people: "NVIDIA H100 (nvidia hopper)". */
  readonly description: string;
  readonly vendor: string;
  readonly architecture: string;
  /** A CPU does the work. */
  readonly software: boolean;
}

/** The files of one folder, without its subfolders. */
export interface Folder {
  readonly label: string;
  readonly files: readonly File[];
}

/** Files are handed over as they are: the worker reads what it needs of them, when it needs it. */
export interface DataRequest {
  /** Files of rows to train on. */
  readonly data: readonly File[];
  /** Files of rows that are never trained on. */
  readonly heldOut?: readonly File[] | undefined;
  /** Whether rows that cannot be used refuse their file (the default), or are counted and left out. */
  readonly faulty?: "refuse" | "skip" | undefined;
  /** A run file, or what one holds; {} for the defaults. It says how rows are read, too. */
  readonly run: File | JsonObject;
}

export interface OpenRequest extends DataRequest {
  /** A Hugging Face checkpoint. */
  readonly model: Folder;
  /** How conversations are written, in place of the model's own way. */
  readonly chatTemplate?: File | undefined;
  /** An adapter to start from. */
  readonly adapter?: AdapterSource | undefined;
}

export interface PreviewRequest extends PreviewedSettings {
  readonly model: Folder;
  /** An adapter to start from, whose own settings count. */
  readonly adapter?: AdapterSource | undefined;
}

/** What people are told before the first step. */
export interface RunSummary extends Omit<SessionSummary, "tokenised" | "heldOut"> {
  /** Optimizer steps of one epoch: without packing, and with it. */
  readonly stepsPerEpoch: { readonly plain: number; readonly packed: number };
  /** Of the rows that are trained on, before they were cut. */
  readonly lengths: RowLengths;
  readonly rows: RowCounts;
  readonly heldOut: RowCounts | undefined;
}

export interface RowCounts {
  readonly used: number;
  /** Nothing to train on; the first of them, and why. */
  readonly leftOut: number;
  readonly faults: readonly Fault[];
  /** Longer than max_length. */
  readonly cut: number;
  readonly tokens: number;
  /** Tokens that are trained on. */
  readonly targets: number;
  /** Halves of surrogate pairs that stood alone. */
  readonly replacedSurrogates: number;
}

/** What a record of the data holds, and what the open model makes of it. */
export interface RecordView {
  readonly values: RecordValues;
  /** Absent where no model was opened with these rows. */
  readonly tokens: Result<RowTokens> | undefined;
}

/**
 * Before the first step: bytes of the data, rows that are tokenised, modules whose start is computed from the base, bytes
 * of the base model, pipelines. Of an export: bytes, and then its check.
 */
export interface Progress {
  readonly stage: "read" | "encode" | "start" | "load" | "compile" | "write" | "check";
  readonly done: number;
  readonly total: number;
}

/** An adapter as PEFT saves it, as a folder or zipped; or a GGUF file with one. */
export type AdapterSource = Folder | File;

/** The base model that adapters are opened on. */
export interface BaseFacts {
  readonly label: string;
  readonly modelType: string;
  readonly parameters: number;
  readonly layers: number;
  /** The open run trains on the same files: both read one copy on the device, and the run's adapter can be used too. */
  readonly ofRun: boolean;
}

/**
 * Adapters on a base model, beside a run or without one. Nothing is read to the device before something is asked; a
 * change of adapters loads nothing of the base again.
 */
export interface AdapterApi {
  /** Reads a base model's headers. Adapters that were opened on another are closed. */
  openBase(model: Folder): Promise<Result<BaseFacts>>;
  /** Closes it and its adapters, and gives back their memory. */
  closeBase(): Promise<void>;
  /**
   * Reads an adapter and looks whether it fits the open base; one that does not can be looked at, not used. What one of
   * PEFT's with pissa or olora began as is computed from the base again, which takes a while where that is large.
   */
  openAdapter(
    source: AdapterSource,
    onProgress: (progress: Progress) => void,
  ): Promise<Result<OpenedAdapterFacts>>;
  /** Lets the `openAdapter` that has told progress last return with a failure. */
  stopOpeningAdapter(): Promise<void>;
  /** How far it takes each parameter that it changes. Reads these of the base, which takes a while where it is large. */
  adapterChanges(id: number): Promise<Result<readonly ParameterChange[]>>;
  closeAdapter(id: number): Promise<void>;
}

export interface Exported {
  readonly format: ExportFormat;
  readonly files: readonly KeptFile[];
  readonly check: SelfCheck;
}

/** Greedy, and as long as `max_new_tokens` says or 128 tokens, unless told otherwise. */
export interface AnswerRequest extends Partial<Sampling> {
  readonly prompts: readonly Prompt[];
  readonly max_new_tokens?: number;
  /** The base model answers: the adapter is left out. */
  readonly asBase?: boolean;
  /**
   * Who answers in place of the open run's model as it is: the open base, or the run's, with these; with
   * none, the base itself.
   */
  readonly adapters?: readonly AdapterUse[] | undefined;
}

/** An answer as far as it has come. */
export interface AnswerText {
  /** Which of the prompts, counted from 0. */
  readonly prompt: number;
  readonly text: string;
}

export interface TrainApi extends AdapterApi {
  /** The device that runs will use, or why there is none. */
  device(): Promise<Result<DeviceFacts>>;
  /** Answers only when the device has been lost; what the open run had trained is lost with it. */
  deviceLost(): Promise<Failure>;
  /** Reads rows, and says what they are. Files that were read before, and edits to them, are kept. */
  readData(request: DataRequest, onProgress: (progress: Progress) => void): Promise<Result<DataFacts>>;
  /** Changes the rows that were read. The run that is open keeps those that it was opened with. */
  editData(edit: DataEdit): Promise<Result<DataFacts>>;
  /** Rows as they stand in their files, one after the other; at once, while steps are taken too. */
  dataLines(first: number, count: number): Promise<Result<readonly RecordLine[]>>;
  /** One of them whole, and its tokens. */
  dataRecord(record: number): Promise<Result<RecordView>>;
  /** What settings come to on a model, whose weights are not read; at once, while steps are taken too. */
  previewTargets(request: PreviewRequest): Promise<Result<TargetPreview>>;
  /** Reads and plans a run; takes no memory on the device yet. A run that is open is ended first. */
  open(request: OpenRequest, onProgress: (progress: Progress) => void): Promise<Result<RunSummary>>;
  /** Lets `readData` and `open` return with a failure. */
  stopOpening(): Promise<void>;
  /**
   * Takes the steps of the open run that are left, until none is or `pause` is called. The first time it loads the
   * base model and compiles. Reports come in order, those of 50 ms at once. Held-out rows are evaluated and the run
   * file's samples are taken before the first step, every so many steps and after the last.
   */
  train(
    onProgress: (progress: Progress) => void,
    onReports: (reports: readonly Report[]) => void,
  ): Promise<Result<TrainOutcome>>;
  /** Lets `train` return once the steps that are under way are done; called again, `train` goes on from there. */
  pause(): Promise<void>;
  /**
   * The answers of the open run's model, as it is now; before the first step, too. While steps are taken it is waited
   * for. Texts come as they grow, those of 50 ms at once.
   */
  answers(
    request: AnswerRequest,
    onProgress: (progress: Progress) => void,
    onTexts: (texts: readonly AnswerText[]) => void,
  ): Promise<Result<readonly string[]>>;
  /** Lets `answers` return with what there is. */
  stopAnswers(): Promise<void>;
  /** What the device holds now, counted as its memory was taken; at once, while steps are taken too. */
  memory(): Promise<Result<MemoryEstimate>>;
  /** What the run could be handed on as, and why not. While steps are taken it is waited for. */
  exportChoices(): Promise<Result<readonly ExportChoice[]>>;
  /**
   * What the run has trained, as it is after the last step, in a form that other tools read. The files are read back
   * and run; where that is not the trained model there is a failure and no file. While steps are taken it is waited for.
   */
  export(format: ExportFormat, onProgress: (progress: Progress) => void): Promise<Result<Exported>>;
  /** Lets `export` return with a failure. */
  stopExport(): Promise<void>;
  /** Ends the open run and gives back its memory. */
  close(): Promise<void>;
}
