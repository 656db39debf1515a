/** The base model's tensors on the device: what several graphs take of them lies there once. */
import { expect, it } from "vitest";
import type { StoredTensor } from "../../src/base/bytes.ts";
import { Gpu } from "../../src/gpu/device.ts";
import { Graph } from "../../src/graph/graph.ts";
import { FrozenWeights } from "../../src/models/frozen.ts";
import { testDevice } from "../harness/device.ts";

const on = testDevice();

const WIDTH = 32;

/** [rows, 32] in f32, filled with `value`. */
function stored(name: string, rows: number, value: number): StoredTensor {
  const bytes = new Uint8Array(new Float32Array(rows * WIDTH).fill(value).buffer);
  return {
    ...{ name, dtype: "F32", shape: [rows, WIDTH], byteLength: bytes.length },
    read: async (start = 0, end = bytes.length) => bytes.subarray(start, end),
  };
}

// 128 bytes a row: v begins where no binding may.
const [q, k, v] = [stored("q", 4, 1), stored("k", 3, 2), stored("v", 2, 3)];

function open() {
  const gpu = new Gpu(on.device);
  const before = gpu.totalBytes();
  const frozen = new FrozenWeights(gpu);
  const graph = new Graph(1, 1);
  const bind = (...tensors: StoredTensor[]) => {
    const key = tensors.map(({ name }) => name).join(" + ");
    const rows = tensors.reduce((sum, { shape }) => sum + shape[0]!, 0);
    const value = graph.constant(key, [rows, WIDTH], "f32");
    frozen.bind(key, value, 4 * rows * WIDTH, { tensors, transposed: false, dtype: "f32" });
    return value;
  };
  const numbers = async ({ storage }: ReturnType<typeof bind>) =>
    new Set(new Float32Array(await gpu.read(storage!)));
  return { frozen, bind, numbers, taken: () => gpu.totalBytes() - before };
}

it("lie once, joined and by themselves, where a binding may begin there", async () => {
  const { frozen, bind, numbers, taken } = open();
  const joined = bind(q, k, v);
  const [before, early] = [bind(k, v), bind(k)];
  await frozen.load();
  expect(await numbers(joined)).toEqual(new Set([1, 2, 3]));
  expect(await numbers(before)).toEqual(new Set([2, 3]));
  expect(await numbers(early)).toEqual(new Set([2]));
  expect(await numbers(bind(q))).toEqual(new Set([1]));
  expect(taken()).toBe(frozen.bytes());
  expect(taken()).toBe(1280);
  const late = bind(v);
  await frozen.load();
  expect(await numbers(late)).toEqual(new Set([3]));
  expect(taken()).toBe(1280 + 256);
  frozen.destroy();
  expect(taken()).toBe(0);
});

it("are known to lie apart", () => {
  const { frozen, bind } = open();
  expect(frozen.liesApart(q, k)).toBe(false);
  bind(q);
  expect(frozen.liesApart(q, k)).toBe(true);
  bind(k, v);
  expect([frozen.liesApart(q, k), frozen.liesApart(k, v)]).toEqual([true, false]);
});
