import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { toFloat32 } from "../../src/formats/floats.ts";
import { openSafetensors } from "../../src/formats/safetensors.ts";
import { arraySource } from "../../src/formats/sources.ts";
import { rowNorms } from "../../src/lora/rowNorms.ts";

const DUMPS = "reference/dumps";
const matrix = { name: "w", values: Float32Array.of(3, 4, 0, -2, 0, 0), outFeatures: 2, inFeatures: 3 };

async function tensors(path: string) {
  const { tensors } = await openSafetensors(arraySource(readFileSync(path), path));
  return async (name: string) => {
    const tensor = tensors.get(name)!;
    return toFloat32(await tensor.read(), tensor.dtype);
  };
}

it("norms are those of rows, or of columns where a matrix is stored turned", () => {
  expect([...rowNorms({ ...matrix, turned: false })]).toEqual([5, 2]);
  const turned = { ...matrix, values: Float32Array.of(3, -2, 4, 0, 0, 0), turned: true };
  expect([...rowNorms(turned)]).toEqual([5, 2]);
});

it("norms count s·B·A", () => {
  const change = { a: Float32Array.of(1, 0, 0), b: Float32Array.of(-1.5, -2), scale: 2 };
  expect([...rowNorms({ ...matrix, turned: false }, change)]).toEqual([4, 6]);
});

it("a row of zeros is refused: DoRA would divide by it", () => {
  const zero = { ...matrix, values: Float32Array.of(1, 1, 1, 0, 0, 0), turned: false };
  expect(() => rowNorms(zero)).toThrow("row 1 of w is zero");
});

// B is random at the start of the first, zero at the start of the second.
it.each([
  ["qwen2_dora_bias", "qwen2", "model.layers.1.self_attn.k_proj", 32, 16, 8 / 4],
  ["llama_dora", "llama", "model.layers.0.mlp.down_proj", 52, 32, 16 / 8],
])(
  "are the magnitudes that PEFT starts from: %s",
  async (run, base, module, inFeatures, outFeatures, scale) => {
    const adapter = await tensors(`${DUMPS}/runs/${run}/initial/adapter_model.safetensors`);
    const weights = await tensors(`${DUMPS}/bases/${base}/model.safetensors`);
    const [a, b] = [
      await adapter(`base_model.model.${module}.lora_A.weight`),
      await adapter(`base_model.model.${module}.lora_B.weight`),
    ];
    const values = await weights(`${module}.weight`);
    const found = rowNorms({ name: module, values, outFeatures, inFeatures, turned: false }, { a, b, scale });
    const wanted = await adapter(`base_model.model.${module}.lora_magnitude_vector`);
    expect(found.length).toBe(wanted.length);
    const errors = found.map((value, o) => Math.abs(value / wanted[o]! - 1));
    expect(Math.max(...errors)).toBeLessThan(3e-7);
  },
);
