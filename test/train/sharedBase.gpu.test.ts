/** Several adapted models over one base that lies on the device once. */
import { expect, it } from "vitest";
import { BLOCK_BYTES, Gpu } from "../../src/gpu/device.ts";
import { Kernels } from "../../src/gpu/kernels.ts";
import { AdaptedModel } from "../../src/train/adaptedModel.ts";
import { logitsOf } from "../../src/train/logits.ts";
import { testDevice } from "../harness/device.ts";
import { openParitySession } from "./parityRun.ts";

const on = testDevice();

const ids = Uint32Array.of(5, 9, 17, 3, 44);

// One joins q, k and v, one keeps them apart and wants the lengths of their rows, one has a head of its own.
it.each([
  ["llama_all_linear", "llama_dora", 3584],
  ["llama_dora", "llama_all_linear", 0],
  ["llama_untied_head", "llama_all_linear", 4 * 180 * 32],
])("is not loaded again: %s, then %s", async (first, second, added) => {
  const gpu = new Gpu(on.device);
  const kernels = new Kernels(gpu);
  const open = (name: string) => openParitySession(gpu, kernels, name, () => {}, { adapter: "final" });
  const [owner, other] = [await open(first), await open(second)];
  const wanted = await other.logits(ids);
  const values = new Map<string, Float32Array>();
  for (const key of other.adapted.layout.tensors.keys()) values.set(key, await other.adapted.read(key));
  other.destroy();

  const before = await owner.logits(ids);
  const held = gpu.bytes.get("base")!;
  const guest = new AdaptedModel({
    ...{ gpu, kernels, model: owner.adapted.model, frozen: owner.adapted.frozen, loraDropout: 0 },
    selection: other.adapted.selection,
    initial: { compute: async () => values },
  });
  expect(await logitsOf(guest, ids)).toEqual(wanted);
  expect(gpu.bytes.get("base")).toBe(held + added);
  guest.destroy();
  expect(await owner.logits(ids)).toEqual(before);
  owner.destroy();
  expect(gpu.totalBytes()).toBe(BLOCK_BYTES);
});
