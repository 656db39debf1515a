/** What a run tells as it goes: the lines of metrics.jsonl. */
import type { Message } from "../data/rows.ts";
import type { TokenMeans } from "../ops/scalars.ts";
import type { Expected } from "./expected.ts";

/** Means over the trained tokens of the whole optimizer step, before its update. */
export interface StepReport extends TokenMeans {
  /** Counted from 1. */
  readonly step: number;
  /** The learning rate that this step used, where a tensor has none of its own. */
  readonly lr: number;
  /** Before clipping. */
  readonly grad_norm: number;
  /** Trained targets. */
  readonly tokens: number;
  /** Since the first step began; what lies between steps is not counted, here and below. */
  readonly elapsed_ms: number;
}

/** Means over the held-out targets. */
export interface EvaluationReport {
  /** After how many steps. */
  readonly step: number;
  readonly eval_loss: number;
  readonly eval_entropy: number;
  readonly eval_mean_token_accuracy: number;
  readonly elapsed_ms: number;
}

/** What the run file's prompts were answered with. */
export interface SampleReport {
  /** After how many steps. */
  readonly step: number;
  readonly samples: readonly Sample[];
  readonly elapsed_ms: number;
}

export interface Sample {
  /** A text that is gone on with, or a conversation that is answered. */
  readonly prompt: string | readonly Message[];
  readonly greedy: string;
  /** Null where the temperature is 0. */
  readonly sampled: string | null;
}

/** What the first steps have moved. */
export interface AuditReport {
  /** After how many steps: the first whose learning rate is above zero. */
  readonly step: number;
  readonly audit: AuditResult;
  readonly elapsed_ms: number;
}

/** A tensor that trains. */
export interface AuditedTensor {
  /** PEFT's name. */
  readonly tensor: string;
  /** ‖after − before‖, of the numbers as they are in f32. */
  readonly change: number;
  /** ‖before‖ */
  readonly norm: number;
  readonly expected: Expected["moves"];
  /** Why it need not have moved, or must not. */
  readonly because: string | null;
  /** `stuck`: it should have moved and did not. `strayed`: it moved and should not have. */
  readonly verdict: "ok" | "stuck" | "strayed";
}

export interface AuditResult {
  readonly tensors: readonly AuditedTensor[];
  /** The base's tensors on the device: how many, their bytes, and the names of those that are no longer what they were. */
  readonly frozen: { readonly tensors: number; readonly bytes: number; readonly changed: readonly string[] };
}

/** Why a run ended with the best that it had, and not where it was. */
export interface DivergenceReport {
  /** After how many steps. */
  readonly step: number;
  readonly diverged: string;
  readonly elapsed_ms: number;
}

export type Report = StepReport | EvaluationReport | SampleReport | AuditReport | DivergenceReport;
