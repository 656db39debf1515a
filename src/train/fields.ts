import { TRUNCATION_MODES, type TruncationMode } from "../data/cuts.ts";
import { DATA_FORMATS, type DataFormat } from "../data/formats/reading.ts";
import type { ColumnMapping } from "../data/mapping.ts";
import { BEST_METRICS, type BestSettings } from "./best.ts";
import type { GroupedTrainConfig } from "./parameterGroups.ts";
import type { SampleSettings } from "./samples.ts";

/**
 * Every key of the run file's `train` part: what it means, what it may be, and its default. The checks, the
 * table in docs/run-file.md and the page's form all come from here. Names and defaults are those of
 * Transformers' TrainingArguments, but for learning_rate and max_length; those about rows are TRL's, or ours.
 */
export type TrainField = { description: string } & (
  | { kind: "integer"; default: number; min: number; max?: number }
  | { kind: "number"; default: number; min: number; max?: number; below?: number }
  | { kind: "optional"; default: null; min: number; max?: number; above?: number; below?: number }
  | { kind: "optional integer"; default: null; min: number }
  | { kind: "boolean"; default: boolean }
  | { kind: "optional boolean"; default: null }
  | { kind: "optional text"; default: null; expected: string }
  | { kind: "choice"; default: string; choices: readonly string[] }
  | { kind: "optional choice"; default: null; choices: readonly string[] }
  | { kind: "name"; default: string }
  | { kind: "mapping"; default: null }
  | { kind: "samples"; default: null }
  | { kind: "groups"; default: null }
  | { kind: "patterns"; default: null }
);

const SCHEDULES = ["constant", "linear", "cosine", "constant_with_warmup"] as const;
export type Schedule = (typeof SCHEDULES)[number];

export interface TrainConfig extends BestSettings, GroupedTrainConfig {
  max_steps: number;
  num_train_epochs: number;
  per_device_train_batch_size: number;
  gradient_accumulation_steps: number;
  lr_scheduler_type: Schedule;
  warmup_steps: number;
  warmup_ratio: number | null;
  requires_grad: string[] | null;
  adam_beta1: number;
  adam_beta2: number;
  adam_epsilon: number;
  max_grad_norm: number;
  seed: number;
  shuffle: boolean;
  max_length: number;
  truncation_mode: TruncationMode;
  packing: boolean;
  completion_only_loss: boolean | null;
  assistant_only_loss: boolean;
  last_turn_only: boolean;
  chat_template_path: string | null;
  eval_steps: number | null;
  load_best_model_at_end: boolean;
  samples: SampleSettings | null;
  gradient_checkpointing: boolean;
  dataset_text_field: string;
  column_mapping: ColumnMapping | null;
  data_format: DataFormat | "auto";
  eval_split: number | null;
}

export const TRAIN_FIELDS = {
  max_steps: {
    kind: "integer",
    default: -1,
    min: -1,
    description: "Optimizer steps. Above 0 it wins over num_train_epochs.",
  },
  num_train_epochs: {
    kind: "number",
    default: 3,
    min: 0,
    description: "Passes over the rows; a fraction is rounded up to whole steps.",
  },
  per_device_train_batch_size: {
    kind: "integer",
    default: 8,
    min: 1,
    description: "Rows per micro-batch.",
  },
  gradient_accumulation_steps: {
    kind: "integer",
    default: 1,
    min: 1,
    description: "Micro-batches per optimizer step.",
  },
  learning_rate: {
    kind: "number",
    default: 2e-4,
    min: 0,
    description:
      "The highest learning rate of the schedule. (TrainingArguments: 5e-5, which is low for LoRA.)",
  },
  lr_scheduler_type: {
    kind: "choice",
    default: "linear",
    choices: SCHEDULES,
    description: "How the learning rate goes after the warm-up. `constant` has none.",
  },
  warmup_steps: {
    kind: "number",
    default: 0,
    min: 0,
    description:
      "Steps in which the learning rate rises from 0; below 1 it is a share of all steps, rounded up.",
  },
  warmup_ratio: {
    kind: "optional",
    default: null,
    min: 0,
    max: 1,
    description: "The same as a share of all steps, rounded up, where warmup_steps is 0.",
  },
  weight_decay: {
    kind: "number",
    default: 0,
    min: 0,
    description: "AdamW's decoupled weight decay; biases and norms are exempt.",
  },
  requires_grad: {
    kind: "patterns",
    default: null,
    description:
      "Patterns of the base's tensors that train whole beside LoRA: each matches a tensor's whole name. (Graft's own.)",
  },
  param_groups: {
    kind: "groups",
    default: null,
    description:
      "Learning rates and weight decays of their own for tensors that train, picked by patterns of their PEFT names; the first group that matches takes a tensor. (Graft's own.)",
  },
  loraplus_lr_ratio: {
    kind: "optional",
    default: null,
    min: 0,
    above: 0,
    description:
      "LoRA+: lora_B and every vector learn so many times as fast. Absent: no LoRA+. (PEFT's create_loraplus_optimizer.)",
  },
  loraplus_lr_embedding: {
    kind: "number",
    default: 1e-6,
    min: 0,
    description: "LoRA+: the learning rate of LoRA on embeddings. (PEFT's create_loraplus_optimizer.)",
  },
  adam_beta1: {
    kind: "number",
    default: 0.9,
    min: 0,
    below: 1,
    description: "How slowly AdamW's mean of the gradient changes.",
  },
  adam_beta2: {
    kind: "number",
    default: 0.999,
    min: 0,
    below: 1,
    description: "How slowly AdamW's mean of the squared gradient changes.",
  },
  adam_epsilon: {
    kind: "number",
    default: 1e-8,
    min: 0,
    description: "Added to AdamW's denominator.",
  },
  max_grad_norm: {
    kind: "number",
    default: 1,
    min: 0,
    description: "The gradient is scaled down to this norm where it is larger; 0 switches that off.",
  },
  seed: {
    kind: "integer",
    default: 42,
    min: 0,
    max: 2 ** 32 - 1,
    description: "Decides initial values, the order of the rows and dropout.",
  },
  shuffle: {
    kind: "boolean",
    default: true,
    description: "Take the rows in a new random order each epoch; otherwise in the order of the file.",
  },
  max_length: {
    kind: "integer",
    default: 1024,
    min: 2,
    description:
      "Longest row in tokens; longer ones are cut. (No key of TrainingArguments; TRL's name and default.)",
  },
  truncation_mode: {
    kind: "choice",
    default: "keep_start",
    choices: TRUNCATION_MODES,
    description: "Which end of a row that is longer than max_length stays.",
  },
  packing: {
    kind: "boolean",
    default: false,
    description:
      "Let as many whole rows share a micro-batch as fit into per_device_train_batch_size × max_length tokens.",
  },
  completion_only_loss: {
    kind: "optional boolean",
    default: null,
    description:
      "Learn the completion of a prompt and its completion, and not the prompt. Absent: yes. Other rows are not concerned.",
  },
  assistant_only_loss: {
    kind: "boolean",
    default: true,
    description:
      "Learn what the assistant says in a conversation, and read the rest; false learns all of it. (TRL: false.)",
  },
  last_turn_only: {
    kind: "boolean",
    default: false,
    description: "Learn the assistant's last turn of a conversation alone. (No key of TRL.)",
  },
  chat_template_path: {
    kind: "optional text",
    default: null,
    expected: "a path or null",
    description:
      "A .jinja file, or a folder with a tokenizer, whose chat template is used in place of the model's own.",
  },
  eval_steps: {
    kind: "optional",
    default: null,
    min: 0,
    above: 0,
    description: "Evaluate every so many steps; below 1 it is a share of all steps. Absent: never.",
  },
  load_best_model_at_end: {
    kind: "boolean",
    default: false,
    description: "Keep what was trained where the evaluation was best, and end with that.",
  },
  metric_for_best_model: {
    kind: "optional choice",
    default: null,
    choices: BEST_METRICS,
    description: "What of an evaluation is compared; with or without `eval_` is the same. Absent: loss.",
  },
  greater_is_better: {
    kind: "optional boolean",
    default: null,
    description: "Whether the higher of two is the better. Absent: yes, but for the loss.",
  },
  early_stopping_patience: {
    kind: "optional integer",
    default: null,
    min: 1,
    description:
      "End the run once so many evaluations in a row are no better than the best before them. (EarlyStoppingCallback's.)",
  },
  early_stopping_threshold: {
    kind: "number",
    default: 0,
    min: 0,
    description: "By how much one must be better for the patience to begin anew. (EarlyStoppingCallback's.)",
  },
  samples: {
    kind: "samples",
    default: null,
    description: "Prompts that are answered while the model trains, and how often. (Graft's own.)",
  },
  gradient_checkpointing: {
    kind: "boolean",
    default: false,
    description:
      "Compute activations again in the backward pass instead of keeping them: slower, less memory.",
  },
  dataset_text_field: {
    kind: "name",
    default: "text",
    description: "The column of the texts, where rows are no conversations. (TRL's name and default.)",
  },
  column_mapping: {
    kind: "mapping",
    default: null,
    description:
      "What rows are made of where columns have other names. (Graft's own; docs/data.md says more.)",
  },
  data_format: {
    kind: "choice",
    default: "auto",
    choices: ["auto", ...DATA_FORMATS],
    description: "How the files of rows are read; auto goes by their names and first bytes. (Graft's own.)",
  },
  eval_split: {
    kind: "optional",
    default: null,
    min: 0,
    above: 0,
    below: 1,
    description: "Share of the rows that is held out, chosen by the seed. (Graft's own.)",
  },
} as const satisfies Record<keyof TrainConfig, TrainField>;

export const TRAIN_KEYS = Object.keys(TRAIN_FIELDS) as (keyof TrainConfig)[];
