/** The update, a small graph of its own: gradient norm, clip and AdamW over everything that trains. */
import type { ArenaRole } from "../graph/arena.ts";
import { Graph } from "../graph/graph.ts";
import { makePlan, type Plan } from "../graph/plan.ts";
import type { Program } from "../graph/program.ts";
import type { Value } from "../graph/value.ts";
import {
  type AdamWSettings,
  COMMON_HYPER_COUNT,
  commonHyper,
  GROUP_HYPER_COUNT,
  groupHyper,
  type OptimizerChunk,
  optimizerStep,
} from "../ops/optimizer.ts";
import { scalarsState } from "../ops/scalars.ts";
import type { AdaptedModel } from "./adaptedModel.ts";
import type { TrainConfig } from "./fields.ts";
import { groupByKey, type ParameterGroup, parameterGroups } from "./parameterGroups.ts";
import { tiesOf } from "./ties.ts";

export class Update {
  readonly groups: readonly ParameterGroup[];
  readonly plan: Plan;
  /** Loss and gradient norm; the micro-batches have written into the same buffer. */
  readonly scalars: Value;
  private readonly settings: AdamWSettings;
  private readonly hyper: { readonly common: Value; readonly groups: Value };
  private readonly arenaValues: { role: ArenaRole; chunk: number; value: Value }[] = [];

  /** Traces and plans. Throws ConfigError where `param_groups` do not fit what trains. */
  constructor({ gpu, layout, model, selection }: AdaptedModel, train: TrainConfig) {
    this.settings = {
      beta1: train.adam_beta1,
      beta2: train.adam_beta2,
      epsilon: train.adam_epsilon,
      maxGradNorm: train.max_grad_norm,
    };
    this.groups = parameterGroups(model, selection, train);
    const graph = new Graph(1, 1);
    this.scalars = scalarsState(graph);
    this.hyper = {
      common: graph.input("hyper", [COMMON_HYPER_COUNT], "f32"),
      groups: graph.input("group hyper", [this.groups.length * GROUP_HYPER_COUNT], "f32"),
    };
    const groupOf = groupByKey(this.groups);
    const chunks = layout.chunkBytes.map((bytes, chunk): OptimizerChunk => {
      const state = (role: ArenaRole): Value => {
        const value = graph.state(`${role} ${chunk}`, [bytes / 4]);
        this.arenaValues.push({ role, chunk, value });
        return value;
      };
      return {
        parameters: state("parameters"),
        gradients: state("gradients"),
        firstMoment: state("firstMoment"),
        secondMoment: state("secondMoment"),
        groups: layout.groupOfBlocks(chunk, (key) => groupOf.get(key)!),
      };
    });
    optimizerStep(graph, {
      chunks,
      ties: tiesOf(selection, layout),
      groupHyper: this.hyper.groups,
      hyper: this.hyper.common,
      scalars: this.scalars,
    });
    this.plan = makePlan(graph, gpu.traits);
  }

  /** Gives the arenas' values their places, which they have once the model is loaded. */
  bind(adapted: AdaptedModel): void {
    for (const { role, chunk, value } of this.arenaValues) {
      const size = adapted.layout.chunkBytes[chunk]!;
      value.storage = { buffer: adapted.chunks(role)[chunk]!, offset: 0, size };
    }
  }

  /** Writes what one step wants; `factor` is the schedule's, by which every group's rate is multiplied. */
  write(program: Program, step: number, factor: number): void {
    const { settings, hyper } = this;
    const groups = this.groups.map(({ lr, weight_decay }) => ({
      learningRate: lr * factor,
      weightDecay: weight_decay,
    }));
    program.write(hyper.common, commonHyper(settings, step));
    program.write(hyper.groups, groupHyper(settings, groups, step));
    program.setCounts({ tokens: 1, targets: 1 });
  }
}
