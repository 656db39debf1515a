/**
 * LoRA (Hu et al. 2021). A frozen matrix W learns through two thin factors beside it:
 *
 *   y = x·Wᵀ + scale·(x̃·Aᵀ)·Bᵀ      scale = lora_alpha / r,  x̃ = dropout(x)
 *
 * x [tokens, in], W [out, in], A [r, in], B [out, r]. B starts at zero, so the model starts as the base model.
 * Backward, with p = x̃·Aᵀ kept from the forward:
 *
 *   dp = scale·dy·B    dB = scale·dyᵀ·p    dA = dpᵀ·x̃    dx = dy·W + dp·A
 *
 * With DoRA (Liu et al. 2024) each row of W has a magnitude m beside it, and n = ‖W + scale·B·A‖ counts as a constant:
 *
 *   y = x·Wᵀ + (m/n − 1)·x̃·Wᵀ + (m/n)·scale·(x̃·Aᵀ)·Bᵀ
 *
 * Where A and B begin as a part of W (pissa, olora), that part counts as taken out of W, which stays as it is: A₀ and B₀
 * are what they began as, and W becomes W − scale·B₀·A₀ above, a second low-rank path that does not train.
 *
 * W has no gradient at all. A projection may join several modules (q, k and v), each with its own rows of W and
 * its own factors; one product and one low-rank path serve them all.
 */
import type { Graph } from "../graph/graph.ts";
import type { Value } from "../graph/value.ts";
import { replaceColumns } from "../ops/columns.ts";
import { addStretched, type Stretch, stretch } from "../ops/dora.ts";
import { dropout } from "../ops/dropout.ts";
import { linear } from "../ops/linear.ts";
import { type LowRank, lowRankPath } from "../ops/lora.ts";
import { type ReplacedRows, stackRows, type Weight } from "../ops/weight.ts";

export interface AdaptedModule extends LowRank {
  /** Tells this module's dropout masks from another's. */
  readonly dropoutKey: number;
}

export interface Projection {
  readonly weight: Weight;
  /** One per slice of the weight, or none. */
  readonly biases: readonly Value[];
  readonly adapted: readonly AdaptedModule[];
  /** One per slice of the weight: what DoRA needs of its rows, where it adapts them. */
  readonly stretches: readonly (Stretch | undefined)[];
  /** Rows that train in the place of the weight's own; DoRA does not go together with them. */
  readonly replaced?: ReplacedRows | undefined;
}

/** What the low-rank paths of a model share. */
export interface LoraContext {
  /** f32 [modules]: lora_alpha / r of each adapted module. */
  readonly scales: Value;
  /** Absent where lora_dropout is 0, and in evaluation. */
  readonly dropout?: {
    readonly p: number;
    readonly seedStep: Value;
    readonly rowInStep: Value;
    readonly positions: Value;
  };
}

/** x [tokens, in] → soFar + y [tokens, out]. */
export function project(
  graph: Graph,
  x: Value,
  projection: Projection,
  lora: LoraContext,
  soFar?: Value,
): Value {
  const { weight, biases, adapted, stretches, replaced } = projection;
  const { dropout: drop, scales } = lora;
  const isStretched = stretches.some((one) => one !== undefined);
  if (isStretched && !drop) {
    const z = lowRankPath(graph, x, linear(graph, x, weight), adapted, scales);
    return stretch(graph, z, weight, { stretches, biases, soFar });
  }
  const product = linear(graph, x, weight, { biases, soFar });
  const y = replaced ? replaceColumns(graph, x, product, weight, replaced) : product;
  if (adapted.length === 0) return y;
  if (!drop) return lowRankPath(graph, x, y, adapted, scales);
  // What was taken out of W is not dropped, no more than W is.
  const starts = adapted.flatMap(({ start, ...module }) =>
    start ? [{ ...module, ...start, bias: undefined }] : [],
  );
  const rest = starts.length > 0 ? lowRankPath(graph, x, y, starts, scales) : y;
  // Each module draws its own mask, so each has an input of its own.
  return adapted.reduce((sum, module) => {
    const dropped = dropout(graph, x, { ...drop, module: module.dropoutKey });
    const added = lowRankPath(graph, dropped, sum, [{ ...module, start: undefined }], scales);
    return isStretched ? addStretch(graph, dropped, added, module, projection, scales) : added;
  }, rest);
}

/** What DoRA adds to LoRA under dropout: y + (m/n − 1) ⊙ x̃·(W + scale·B·A)ᵀ in the module's rows. */
function addStretch(
  graph: Graph,
  dropped: Value,
  y: Value,
  module: AdaptedModule,
  { weight, stretches }: Projection,
  scales: Value,
): Value {
  const end = module.rowStart + module.rows;
  const isOwn = ({ rowStart }: { rowStart: number }) => module.rowStart <= rowStart && rowStart < end;
  const own = stackRows(
    module.a.name,
    weight.slices.filter(isOwn).map(({ value }) => value),
  );
  const z = lowRankPath(graph, dropped, linear(graph, dropped, own), [{ ...module, rowStart: 0 }], scales);
  return addStretched(graph, y, z, {
    weight: own,
    stretches: stretches.filter((_, i) => isOwn(weight.slices[i]!)),
    column: module.rowStart,
  });
}
