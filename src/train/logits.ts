/** The logits of a row: what two implementations of one model have to agree on. */
import { allocateInputs, layOut } from "../data/inputs.ts";
import { Graph } from "../graph/graph.ts";
import { makePlan } from "../graph/plan.ts";
import { Program } from "../graph/program.ts";
import type { AdaptedModel } from "./adaptedModel.ts";
import { writeMicroBatch } from "./tracedInputs.ts";

/**
 * ids [tokens] → [tokens][vocabulary], with the trainable tensors as they are now and without dropout; `asBase` leaves
 * the adapter out.
 */
export async function logitsOf(
  adapted: AdaptedModel,
  ids: Uint32Array,
  { asBase = false }: { readonly asBase?: boolean } = {},
): Promise<Float32Array[]> {
  const { gpu, kernels } = adapted;
  const tokens = ids.length;
  const graph = new Graph(tokens, tokens);
  const { inputs, hidden, head } = adapted.trace(graph, { longest: tokens, trains: false, asBase });
  const logits = head.logits(hidden);
  graph.keep("logits", logits);
  const plan = makePlan(graph, gpu.traits);
  await adapted.load();
  const program = await Program.create(gpu, kernels, plan);
  const batch = allocateInputs({ tokens, targets: tokens }, [...inputs.ranges.keys()]);
  // A row's last token is a target and not read: one more, whatever it is, lets all of these be.
  const row = { ids: Uint32Array.of(...ids, 0), line: 1 };
  writeMicroBatch(program, inputs, layOut([row], batch));
  adapted.update();
  program.submit();
  const values = new Float32Array(await gpu.read(program.rangeOf(logits)));
  program.destroy();
  return Array.from({ length: tokens }, (_, row) =>
    values.subarray(row * head.vocabulary, (row + 1) * head.vocabulary),
  );
}
