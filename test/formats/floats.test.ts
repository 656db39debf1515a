import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { decodeBf16, decodeF16, encodeBf16, encodeF16, toFloat32 } from "../../src/formats/floats.ts";
import { openSafetensors } from "../../src/formats/safetensors.ts";
import { arraySource } from "../../src/formats/sources.ts";

const bits = new DataView(new ArrayBuffer(8));

/** The value of an IEEE half by its definition, independent of the code under test. */
function half(pattern: number): number {
  const exponent = (pattern >> 10) & 31;
  const fraction = (pattern & 1023) / 1024;
  const sign = pattern >= 0x8000 ? -1 : 1;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -14 : sign * (1 + fraction) * 2 ** (exponent - 15);
}

describe("decoding", () => {
  it("gives the value of all 65536 halves", () => {
    for (let pattern = 0; pattern < 65536; pattern++) {
      if (!Object.is(decodeF16(pattern), half(pattern)))
        expect(decodeF16(pattern), `${pattern}`).toBe(half(pattern));
    }
  });

  it("gives the upper half of an f32 for all 65536 bfloat16", () => {
    for (let pattern = 0; pattern < 65536; pattern++) {
      bits.setUint32(0, pattern * 65536);
      const wanted = bits.getFloat32(0);
      if (!Object.is(decodeBf16(pattern), wanted)) expect(decodeBf16(pattern), `${pattern}`).toBe(wanted);
    }
  });

  it("reads what PyTorch stored, from any offset", async () => {
    const file = new Uint8Array(readFileSync(new URL("fixtures/every_type.safetensors", import.meta.url)));
    const shifted = new Uint8Array(file.length + 1);
    shifted.set(file, 1);
    const { tensors } = await openSafetensors(arraySource(shifted.subarray(1), "shifted"));
    const values = async (name: string) =>
      toFloat32(await tensors.get(name)!.read(), tensors.get(name)!.dtype);
    const f32 = await values("f32");
    expect([...f32.subarray(0, 5)]).toEqual([0, -0, 1, -1.5, 65504]);
    expect(await values("f16")).toEqual(f32.map((value) => half(encodeF16(value))));
    expect(await values("bf16")).toEqual(f32.map((value) => decodeBf16(encodeBf16(value))));
    const thirds = await values("f64");
    expect(thirds[2]).toBe(Math.fround(1 / 3));
  });

  it("refuses integers and broken lengths", () => {
    expect(() => toFloat32(new Uint8Array(4), "I32")).toThrow(/type I32/);
    expect(() => toFloat32(new Uint8Array(3), "F16")).toThrow(/3 bytes/);
  });
});

describe("encoding", () => {
  it("gives every 16-bit float back", () => {
    for (let pattern = 0; pattern < 65536; pattern++) {
      if (Number.isNaN(half(pattern))) expect(half(encodeF16(half(pattern)))).toBeNaN();
      else if (encodeF16(half(pattern)) !== pattern) expect(encodeF16(half(pattern))).toBe(pattern);
      const brain = decodeBf16(pattern);
      if (Number.isNaN(brain)) expect(decodeBf16(encodeBf16(brain))).toBeNaN();
      else if (encodeBf16(brain) !== pattern) expect(encodeBf16(brain)).toBe(pattern);
    }
  });

  it("rounds halves to nearest and ties to even", () => {
    for (let pattern = 0; pattern < 0x7bff; pattern++) {
      const low = half(pattern);
      const step = half(pattern + 1) - low;
      const even = pattern % 2 === 0 ? pattern : pattern + 1;
      if (encodeF16(low + step / 2) !== even)
        expect(encodeF16(low + step / 2), `tie after ${low}`).toBe(even);
      if (encodeF16(low + step * 0.499) !== pattern)
        expect(encodeF16(low + step * 0.499), `${low}`).toBe(pattern);
      if (encodeF16(low + step * 0.501) !== pattern + 1)
        expect(encodeF16(low + step * 0.501)).toBe(pattern + 1);
    }
    expect(encodeF16(65519)).toBe(0x7bff);
    expect(encodeF16(65520)).toBe(0x7c00);
    expect(encodeF16(-1e9)).toBe(0xfc00);
  });

  it("rounds bfloat16 to nearest and ties to even", () => {
    const between = (low: number, part: number) => {
      bits.setUint32(0, low * 65536 + part);
      return bits.getFloat32(0);
    };
    for (const low of [0, 1, 0x3f80, 0x3f81, 0x7f7e, 0xbf80, 0xbf81]) {
      expect(encodeBf16(between(low, 0x7fff))).toBe(low);
      expect(encodeBf16(between(low, 0x8000))).toBe(low + (low % 2));
      expect(encodeBf16(between(low, 0x8001))).toBe(low + 1);
    }
    expect(encodeBf16(between(0x7f7f, 0x8000))).toBe(0x7f80);
  });
});
