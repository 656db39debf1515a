/** Which tensors the optimizer keeps equal: LoRA's factors of a tied head are the embedding's, turned. */
import type { ArenaLayout } from "../graph/arena.ts";
import { loraKey } from "../lora/adapterKeys.ts";
import type { Selection } from "../lora/selection.ts";
import type { Tie } from "../ops/optimizer.ts";

export function tiesOf({ lora }: Selection, layout: ArenaLayout): Tie[] {
  return lora.flatMap(({ module, tiedTo }) => {
    if (!tiedTo) return [];
    const tie = (half: "lora_A" | "lora_B", other: "lora_A" | "lora_B"): Tie => {
      const table = layout.tensors.get(loraKey(tiedTo.name, half, tiedTo.kind))!;
      const head = layout.tensors.get(loraKey(module.name, other, module.kind))!;
      const [rows, columns] = table.shape as [number, number];
      const [first, second] = [table.place.byteOffset / 4, head.place.byteOffset / 4];
      return { chunk: table.place.chunk, first, second, rows, columns };
    };
    return [tie("lora_A", "lora_B"), tie("lora_B", "lora_A")];
  });
}
