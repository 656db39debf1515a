/** Graft's own step: the engine as the page's worker runs it, over tensors that are in memory. */
import type { StoredTensor } from "../../src/base/bytes.ts";
import { Gpu } from "../../src/gpu/device.ts";
import { Kernels } from "../../src/gpu/kernels.ts";
import { loraKey } from "../../src/lora/adapterKeys.ts";
import { selectModules } from "../../src/lora/targets.ts";
import { parseModelConfig } from "../../src/models/config.ts";
import { Model } from "../../src/models/model.ts";
import { AdaptedModel } from "../../src/train/adaptedModel.ts";
import { parseRunFile } from "../../src/train/runFile.ts";
import { Trainer } from "../../src/train/trainer.ts";
import { requestBrowserDevice } from "../../src/worker/device.ts";
import type { Run, StartOptions } from "../contender.ts";
import {
  adam,
  loraScale,
  type Matrix,
  type ModuleName,
  moduleNames,
  normEps,
  type Problem,
  rotaryTheta,
} from "../problem.ts";

let found: GPUDevice | undefined;

export async function acquire(): Promise<void> {
  found = (await requestBrowserDevice()).device;
}

export async function start(problem: Problem, options: StartOptions): Promise<Run> {
  const { trainer } = await prepare(problem, device(), options);
  return { step: stepper(trainer) };
}

export function device(): GPUDevice {
  if (!found) throw new Error("Graft was started before it had a device.");
  return found;
}

/** One step after the other, each awaited: the loop's own way is to be two steps ahead. */
export function stepper(trainer: Trainer): () => Promise<number> {
  let step = 0;
  return async () => {
    let loss = Number.NaN;
    let started = false;
    const isStopped = (): boolean => {
      const stop = started;
      started = true;
      return stop;
    };
    const onStep = (report: { loss: number }): void => {
      loss = report.loss;
    };
    await trainer.run(onStep, { firstStep: ++step, isStopped });
    return loss;
  };
}

export async function prepare(
  problem: Problem,
  gpuDevice: GPUDevice,
  { tile }: StartOptions,
): Promise<{ trainer: Trainer; destroy(): void }> {
  const { size } = problem;
  const gpu = new Gpu(gpuDevice, tile ? { tile } : {});
  const config = parseModelConfig({
    model_type: "llama",
    vocab_size: size.vocabulary,
    hidden_size: size.width,
    intermediate_size: size.inner,
    num_hidden_layers: size.layers,
    num_attention_heads: size.heads,
    rms_norm_eps: normEps,
    rope_theta: rotaryTheta,
    tie_word_embeddings: true,
  });
  const run = parseRunFile(
    {
      lora: {
        r: size.rank,
        lora_alpha: loraScale * size.rank,
        lora_dropout: 0,
        target_modules: "all-linear",
      },
      train: {
        // As many as anybody has patience for.
        max_steps: 1_000_000,
        per_device_train_batch_size: size.rows,
        max_length: size.length + 1,
        shuffle: false,
        learning_rate: adam.learningRate,
        lr_scheduler_type: "constant",
        adam_beta1: adam.beta1,
        adam_beta2: adam.beta2,
        adam_epsilon: adam.epsilon,
        weight_decay: 0,
        max_grad_norm: 0,
      },
    },
    "the bench's run",
  );
  const model = new Model(config, tensorsOf(problem));
  const selection = selectModules(model.modules, run.lora, {
    modelType: config.modelType,
    origin: "run",
    path: "lora",
  });
  const kernels = new Kernels(gpu);
  const values = initialOf(problem);
  const initial = { compute: async () => values };
  const adapted = new AdaptedModel({ gpu, kernels, model, selection, loraDropout: 0, initial });
  const rows = problem.rows.map((ids, i) => ({ ids, line: i + 1 }));
  const trainer = new Trainer({ adapted, train: run.train, rows });
  await trainer.prepare();
  const destroy = (): void => {
    trainer.destroy();
    adapted.destroy();
  };
  return { trainer, destroy };
}

function pathOf(layer: number, name: ModuleName): string {
  const part = "qkvo".includes(name) ? "self_attn" : "mlp";
  return `model.layers.${layer}.${part}.${name}_proj`;
}

function tensorsOf({ size, embedding, layers }: Problem): Map<string, StoredTensor> {
  const tensors = new Map<string, StoredTensor>();
  const add = (name: string, shape: readonly number[], values: Float32Array): void => {
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    const read: StoredTensor["read"] = async (from = 0, to = bytes.length) => bytes.subarray(from, to);
    tensors.set(name, { name, dtype: "F32", shape, byteLength: bytes.length, read });
  };
  const addMatrix = (name: string, { shape, values }: Matrix): void => add(name, shape, values);
  const addGain = (name: string): void => add(name, [size.width], new Float32Array(size.width).fill(1));
  addMatrix("model.embed_tokens.weight", embedding);
  layers.forEach((layer, i) => {
    addGain(`model.layers.${i}.input_layernorm.weight`);
    addGain(`model.layers.${i}.post_attention_layernorm.weight`);
    for (const name of moduleNames) addMatrix(`${pathOf(i, name)}.weight`, layer[name].weight);
  });
  addGain("model.norm.weight");
  return tensors;
}

function initialOf({ layers }: Problem): Map<string, Float32Array> {
  const initial = new Map<string, Float32Array>();
  layers.forEach((layer, i) => {
    for (const name of moduleNames) {
      initial.set(loraKey(pathOf(i, name), "lora_A"), layer[name].a.values);
      initial.set(loraKey(pathOf(i, name), "lora_B"), layer[name].b.values);
    }
  });
  return initial;
}
