import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parseRunFile, runFileOf, runFileTables } from "../../src/train/runFile.ts";

const parse = (json: unknown) => parseRunFile(json, "run.json");

describe("a run file", () => {
  it("may be empty: the defaults are LoraConfig's and TrainingArguments', but for two", () => {
    const { lora, train, stated } = parse({});
    expect(lora).toMatchObject({
      r: 8,
      lora_alpha: 8,
      lora_dropout: 0,
      target_modules: null,
      rank_pattern: {},
    });
    expect(train).toEqual({
      max_steps: -1,
      num_train_epochs: 3,
      per_device_train_batch_size: 8,
      gradient_accumulation_steps: 1,
      learning_rate: 2e-4,
      lr_scheduler_type: "linear",
      warmup_steps: 0,
      warmup_ratio: null,
      weight_decay: 0,
      requires_grad: null,
      param_groups: null,
      loraplus_lr_ratio: null,
      loraplus_lr_embedding: 1e-6,
      adam_beta1: 0.9,
      adam_beta2: 0.999,
      adam_epsilon: 1e-8,
      max_grad_norm: 1,
      seed: 42,
      shuffle: true,
      max_length: 1024,
      truncation_mode: "keep_start",
      packing: false,
      completion_only_loss: null,
      assistant_only_loss: true,
      last_turn_only: false,
      chat_template_path: null,
      eval_steps: null,
      load_best_model_at_end: false,
      metric_for_best_model: null,
      greater_is_better: null,
      early_stopping_patience: null,
      early_stopping_threshold: 0,
      samples: null,
      gradient_checkpointing: false,
      dataset_text_field: "text",
      column_mapping: null,
      data_format: "auto",
      eval_split: null,
    });
    expect(stated).toEqual([]);
  });

  it("keeps what it states and says which keys of lora those are", () => {
    const run = parse({
      lora: { r: 4, task_type: "CAUSAL_LM", use_dora: false },
      train: { max_steps: 5, gradient_checkpointing: null, warmup_ratio: 0.1 },
    });
    expect(run.lora.r).toBe(4);
    expect(run.train).toMatchObject({ max_steps: 5, gradient_checkpointing: false, warmup_ratio: 0.1 });
    expect(run.stated).toEqual(["r", "task_type", "use_dora"]);
  });

  it("says what is asked while the model trains; what it leaves out is the model's or a default", () => {
    const conversation = [{ role: "user", content: "Hi" }];
    const { samples } = parse({
      train: { samples: { prompts: ["Once", conversation], every: 50, top_p: 0.9 } },
    }).train;
    expect(samples).toEqual({
      prompts: ["Once", conversation],
      every: 50,
      max_new_tokens: 64,
      temperature: null,
      top_k: null,
      top_p: 0.9,
      repetition_penalty: null,
      seed: 0,
    });
  });

  it("survives being written out and read again", () => {
    const run = parse({
      lora: { r: 4, target_modules: ["q_proj"], task_type: "CAUSAL_LM" },
      train: {
        seed: 3,
        column_mapping: { prompt: "{q}", completion: "{a}" },
        data_format: "csv",
        samples: { prompts: ["Once"] },
      },
    });
    const again = parse(JSON.parse(JSON.stringify(runFileOf(run))));
    expect(again.lora).toEqual(run.lora);
    expect(again.train).toEqual(run.train);
  });

  it.each([
    [
      { train: { param_groups: [{ params: ".*", learning_rate: 1 }] } },
      'run.json: train.param_groups[0]: unknown key "learning_rate". The nearest known key',
    ],
    [
      { train: { param_groups: [{ params: ".*" }, { lr: 1 }] } },
      'run.json: train.param_groups[1] is {"lr":1}, expected a pattern in "params"',
    ],
    [
      { train: { loraplus_lr_embedding: 1e-4 } },
      "loraplus_lr_embedding is 0.0001, which changes nothing while loraplus_lr_ratio is not set",
    ],
    [{ trian: {} }, 'run.json: unknown key "trian". The nearest known key is "train".'],
    [
      { train: { learning_rat: 1 } },
      'run.json: train: unknown key "learning_rat". The nearest known key is "learning_rate".',
    ],
    [
      { lora: { rnak_pattern: {} } },
      'run.json: lora: unknown key "rnak_pattern". The nearest known key is "rank_pattern".',
    ],
    [{ lora: { learning_rate: 1 } }, 'run.json: lora: unknown key "learning_rate". It belongs in "train".'],
    [{ train: { lora_alpha: 1 } }, 'run.json: train: unknown key "lora_alpha". It belongs in "lora".'],
    [{ seed: 1 }, 'run.json: unknown key "seed". It belongs in "train".'],
    [
      { train: { learning_rate: "2e-4" } },
      'run.json: train.learning_rate is "2e-4", expected a number of at least 0.',
    ],
    [
      { train: { learning_rate: null } },
      "run.json: train.learning_rate is null, expected a number of at least 0.",
    ],
    [{ train: { max_steps: 1.5 } }, "run.json: train.max_steps is 1.5, expected an integer of at least -1."],
    [{ train: { adam_beta2: 1 } }, "run.json: train.adam_beta2 is 1, expected a number from 0 to below 1."],
    [
      { train: { per_device_train_batch_size: 0 } },
      "train.per_device_train_batch_size is 0, expected an integer of at least 1.",
    ],
    [
      { train: { lr_scheduler_type: "polynomial" } },
      "expected one of constant, linear, cosine, constant_with_warmup.",
    ],
    [{ train: { shuffle: 1 } }, "run.json: train.shuffle is 1, expected true or false."],
    [{ train: { eval_steps: 0 } }, "run.json: train.eval_steps is 0, expected a number above 0 or null."],
    [{ train: { eval_steps: 2.5 } }, "expected a whole number of steps or a share below 1"],
    [
      { train: { warmup_ratio: 2 } },
      "run.json: train.warmup_ratio is 2, expected a number from 0 to 1 or null.",
    ],
    [{ train: { eval_split: 1 } }, "train.eval_split is 1, expected a number above 0 and below 1 or null."],
    [{ train: { dataset_text_field: "" } }, 'train.dataset_text_field is "", expected a name.'],
    [{ train: { data_format: "xml" } }, 'train.data_format is "xml", expected one of auto, jsonl, json, csv'],
    [
      { train: { column_mapping: "{a}" } },
      'run.json: train.column_mapping is "{a}", expected an object such as {"user": "{question}"',
    ],
    [
      { train: { column_mapping: { text: 1 } } },
      "run.json: train.column_mapping.text is 1, expected an object",
    ],
    [
      { train: { column_mapping: { text: "{a}", prompt: "{b}" } } },
      'run.json: train.column_mapping has the parts "text", "prompt", expected {"text"}',
    ],
    [
      { train: { column_mapping: { text: "a" } } },
      'run.json: train.column_mapping.text is "a", which names no column. Write the column\'s name in braces',
    ],
    [{ train: { num_train_epochs: 0 } }, "there is no step to train"],
    [
      { train: { load_best_model_at_end: true } },
      "train.load_best_model_at_end is true, but eval_steps is null, so there is nothing to choose between. Set eval_steps.",
    ],
    [{ train: { early_stopping_patience: 2 } }, "train.early_stopping_patience is 2, but eval_steps is null"],
    [
      { train: { eval_steps: 5, metric_for_best_model: "eval_loss" } },
      'train.metric_for_best_model is "eval_loss", which changes nothing while load_best_model_at_end and early_stopping_patience are not set.',
    ],
    [
      { train: { eval_steps: 5, load_best_model_at_end: true, early_stopping_threshold: 0.1 } },
      "train.early_stopping_threshold is 0.1, which changes nothing while early_stopping_patience is not set.",
    ],
    [
      { train: { metric_for_best_model: "accuracy" } },
      'train.metric_for_best_model is "accuracy", expected one of loss, eval_loss, entropy',
    ],
    [
      { train: { early_stopping_patience: 0 } },
      "train.early_stopping_patience is 0, expected an integer of at least 1 or null.",
    ],
    [{ train: { samples: ["Once"] } }, 'run.json: train.samples is ["Once"], expected an object'],
    [{ train: { samples: {} } }, "run.json: train.samples.prompts is [], expected a list of texts"],
    [{ train: { samples: { prompts: ["a", [{ content: "b" }]] } } }, "train.samples.prompts.1"],
    [
      { train: { samples: { prompts: ["a"], evry: 5 } } },
      'run.json: train.samples: unknown key "evry". The nearest known key is "every".',
    ],
    [
      { train: { samples: { prompts: ["a"], every: 2.5 } } },
      "train.samples.every is 2.5, expected a whole number of steps, or a share above 0 and below 1.",
    ],
    [
      { train: { samples: { prompts: ["a"], top_k: -1 } } },
      "train.samples.top_k is -1, expected an integer of at least 0 or null.",
    ],
    [{ train: [] }, "run.json: train is [], expected an object."],
    [[], "run.json is [], expected an object."],
    ["text", 'run.json is "text", expected an object.'],
    [JSON.parse('{"train": {"__proto__": 1}}'), 'unknown key "__proto__"'],
  ])("is refused: %j", (json, message) => {
    expect(() => parse(json)).toThrow(message);
  });

  it("is described by docs/run-file.md as it is checked", () => {
    const page = readFileSync(new URL("../../docs/run-file.md", import.meta.url), "utf8");
    for (const table of Object.values(runFileTables())) expect(page).toContain(table);
  });
});
