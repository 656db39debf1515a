/** A checkpoint's model: its config, its modules, and where each parameter is stored. */
import type { StoredTensor } from "../base/bytes.ts";
import { ConfigError, FormatError } from "../base/errors.ts";
import { toFloat32 } from "../formats/floats.ts";
import type { ModuleDescriptor } from "../lora/modules.ts";
import { type BaseParameter, namedParameters } from "../lora/requiresGrad.ts";
import type { StoredMatrix } from "../lora/rowNorms.ts";
import { checkpointTensor } from "./frozen.ts";
import type { ModelConfig } from "./modelConfig.ts";
import { describeModules, modelNames } from "./skeleton.ts";

/** Everything about a model that does not depend on the micro-batch. */
export class Model {
  readonly config: ModelConfig;
  readonly modules: readonly ModuleDescriptor[];
  private readonly byName: ReadonlyMap<string, ModuleDescriptor>;
  private readonly tensors: ReadonlyMap<string, StoredTensor>;

  constructor(config: ModelConfig, tensors: ReadonlyMap<string, StoredTensor>) {
    this.config = config;
    this.tensors = tensors;
    this.modules = describeModules(config);
    this.byName = new Map(this.modules.map((module) => [module.name, module]));
  }

  module(name: string): ModuleDescriptor {
    const module = this.byName.get(name);
    if (!module) throw new ConfigError("no-module", `The model has no module "${name}".`);
    return module;
  }

  /** A parameter as the checkpoint stores it, by Transformers' name. A tied head is the embedding. */
  stored(full: string): StoredTensor | undefined {
    const { embedding: table, head } = modelNames(this.config);
    const own = this.config.tied && full === `${head}.weight` ? `${table}.weight` : full;
    return checkpointTensor(this.tensors, own);
  }

  /** A module's parameter in the checkpoint, its shape checked. */
  tensor(name: string, parameter: string): StoredTensor {
    const full = `${name}.${parameter}`;
    const tensor = this.stored(full);
    const wanted = this.module(name).parameters[parameter]!;
    if (!tensor) {
      throw new FormatError(
        "tensor-missing",
        `The checkpoint has no tensor "${full}" of shape [${wanted}].`,
        "Check that config.json belongs to these weights and that no file is missing.",
      );
    }
    if (tensor.shape.length !== wanted.length || tensor.shape.some((size, i) => size !== wanted[i])) {
      throw new FormatError(
        "shape-mismatch",
        `"${full}" has shape [${tensor.shape}], config.json asks for [${wanted}].`,
        "Check that config.json belongs to these weights.",
      );
    }
    return tensor;
  }

  /** A module's weight, decoded, as the checkpoint stores it. */
  async matrix(name: string): Promise<StoredMatrix> {
    const tensor = this.tensor(name, "weight");
    const { inFeatures, outFeatures, kind } = this.module(name);
    const values = toFloat32(await tensor.read(), tensor.dtype);
    // What an embedding puts in is a one-hot id, so its table lies as [in, out] too.
    return { name, values, inFeatures, outFeatures, turned: kind === "conv1d" || kind === "embedding" };
  }

  /** Every parameter once, as PyTorch lists them: a tied head's is the embedding's. */
  namedParameters(): BaseParameter[] {
    return namedParameters(this.modules);
  }

  /** Numbers of the base model: the tied head counts once. */
  parameterCount(): number {
    return this.namedParameters()
      .map(({ module, parameter }) => module.parameters[parameter]!)
      .reduce((sum, shape) => sum + shape.reduce((product, size) => product * size, 1), 0);
  }
}
