import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { baseStart } from "../../src/lora/baseStart.ts";
import { orthonormal } from "../../src/lora/orthonormal.ts";
import { loraScale } from "../../src/lora/scale.ts";
import type { LoraTarget } from "../../src/lora/selection.ts";
import { approximateSingular, largestSingular } from "../../src/lora/singular.ts";
import { largestEigenvectors } from "../../src/lora/symmetric.ts";

/** As reference/start_dump.py writes it. */
interface Start {
  readonly kind: string;
  readonly rows: number;
  readonly columns: number;
  readonly turned: boolean;
  readonly r: number;
  readonly alpha: number;
  readonly rslora: boolean;
  readonly seed: number;
  readonly largest: number;
  readonly values: readonly number[];
  readonly samples: Readonly<Record<string, readonly number[]>>;
}
const starts = JSON.parse(readFileSync("test/lora/fixtures/starts.json", "utf8")) as Start[];

/** The same words as `noise` of reference/start_dump.py. */
function noise(count: number, seed: number): Uint32Array {
  return Uint32Array.from({ length: count }, (_, i) => {
    let x = (i + Math.imul(seed, 0x9e3779b9)) >>> 0;
    x = Math.imul(x ^ (x >>> 16), 0x7feb352d) >>> 0;
    x = Math.imul(x ^ (x >>> 15), 0x846ca68b) >>> 0;
    return (x ^ (x >>> 16)) >>> 0;
  });
}

function matrixOf({ kind, rows, columns, seed }: Start): Float32Array {
  const rank = Number(/^rank(\d+)$/.exec(kind)?.[1] ?? 0);
  if (rank > 0) {
    const whole = (count: number, of: number) => [...noise(count, of)].map((word) => (word % 15) - 7);
    const [left, right] = [whole(rows * rank, seed), whole(rank * columns, seed + 1)];
    return Float32Array.from({ length: rows * columns }, (_, i) => {
      const [row, column] = [Math.floor(i / columns), i % columns];
      let sum = 0;
      for (let j = 0; j < rank; j++) sum += left[row * rank + j]! * right[j * columns + column]!;
      return sum;
    });
  }
  return Float32Array.from(noise(rows * columns, seed), (word, i) => {
    const drawn = (word >>> 8) * 2 ** -23 - 1;
    const [row, column] = [Math.floor(i / columns), i % columns];
    if (kind === "falling") return drawn * (64 / (64 + row)) * (64 / (64 + column));
    return kind === "graded" ? drawn * 2 ** -Math.floor((20 * row) / rows) : drawn;
  });
}

function storedOf(start: Start) {
  const { rows, columns, turned } = start;
  const values = matrixOf(start);
  // Conv1D stores the transpose.
  const lying = values.map((_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!);
  return { name: "w", values: turned ? lying : values, outFeatures: rows, inFeatures: columns, turned };
}

function targetOf({ rows, columns, r, alpha, rslora, turned }: Start, fromBase: string): LoraTarget {
  const kind = turned ? "conv1d" : "linear";
  const module = { name: "w", kind, inFeatures: columns, outFeatures: rows, parameters: {} } as const;
  return {
    module,
    r,
    alpha,
    scale: loraScale(alpha, r, rslora),
    hasBias: false,
    hasMagnitude: false,
    fromBase,
  };
}

const dot = (a: Float64Array, b: Float64Array) => a.reduce((sum, value, i) => sum + value * b[i]!, 0);

function expectOrthonormal(vectors: readonly Float64Array[]): void {
  for (const [i, a] of vectors.entries()) {
    for (const [j, b] of vectors.entries())
      expect(Math.abs(dot(a, b) - (i === j ? 1 : 0))).toBeLessThan(1e-12);
  }
}

describe("a start that is taken from a weight", () => {
  const all = starts.flatMap((start) =>
    Object.keys(start.samples).map((init) => ({
      start,
      init,
      name: `${init}, ${start.kind} [${start.rows}, ${start.columns}], r ${start.r}`,
    })),
  );
  it.each(all)("adds what PEFT's adds: $name", ({ start, init }) => {
    const target = targetOf(start, init);
    const { a, b } = baseStart(storedOf(start), target, 42);
    const { r, columns, rows, largest } = start;
    const at = noise(start.samples[init]!.length, start.seed);
    if (init === "pissa") {
      for (let j = 0; j < r; j++) {
        const squares = a
          .subarray(j * columns, (j + 1) * columns)
          .reduce((sum, value) => sum + value * value, 0);
        expect(Math.abs(squares * target.scale - start.values[j]!)).toBeLessThan(1e-6 * start.values[0]!);
      }
    }
    const off = start.samples[init]!.map((wanted, i) => {
      const place = at[i]! % (rows * columns);
      const [row, column] = [Math.floor(place / columns), place % columns];
      let sum = 0;
      for (let j = 0; j < r; j++) sum += b[row * r + j]! * a[j * columns + column]!;
      return Math.abs(target.scale * sum - wanted);
    });
    expect(Math.max(...off)).toBeLessThan(1e-6 * largest);
  });

  it("has the singular value in both halves of pissa, and Q with R above its diagonal in those of olora", () => {
    const start = starts[1]!;
    const target = targetOf(start, "pissa");
    const { r, columns } = start;
    const pissa = baseStart(storedOf(start), target, 42);
    const squares = (values: Float32Array) => values.reduce((sum, value) => sum + value * value, 0);
    for (let j = 0; j < r; j++) {
      const row = pissa.a.subarray(j * columns, (j + 1) * columns);
      const column = pissa.b.filter((_, i) => i % r === j);
      expect(squares(row) * target.scale).toBeCloseTo(start.values[j]!, 5);
      expect(squares(column) * target.scale).toBeCloseTo(start.values[j]!, 5);
    }
    const olora = baseStart(storedOf(start), targetOf(start, "olora"), 42);
    for (let j = 0; j < r; j++) {
      expect(squares(olora.b.filter((_, i) => i % r === j))).toBeCloseTo(1, 6);
      expect(olora.a.subarray(j * columns, j * columns + j).every((value) => value === 0)).toBe(true);
    }
  });

  it("comes near the largest singular values by iterations, and nearer by more of them", () => {
    const start = starts.find(({ kind, rows }) => kind === "falling" && rows === 192)!;
    const stored = storedOf(start);
    const kept = (init: string, seed = 42) => {
      const { a, b } = baseStart(stored, targetOf(start, init), seed);
      const { r, columns, alpha } = start;
      let squares = 0;
      for (let row = 0; row < start.rows; row++) {
        for (let column = 0; column < columns; column++) {
          let sum = 0;
          for (let j = 0; j < r; j++) sum += b[row * r + j]! * a[j * columns + column]!;
          squares += ((alpha / r) * sum) ** 2;
        }
      }
      return squares;
    };
    const best = start.values.reduce((sum, value) => sum + value * value, 0);
    const [none, some, many] = [kept("pissa_niter_0"), kept("pissa_niter_4"), kept("pissa_niter_40")];
    expect(none).toBeLessThan(some);
    expect(some).toBeLessThan(many);
    expect(many).toBeLessThan(best * (1 + 1e-6));
    expect(many).toBeGreaterThan(0.99 * best);
    expect(kept("pissa_niter_4")).toBe(some);
    expect(kept("pissa_niter_4", 43)).not.toBe(some);
  });

  it("is refused where the weight is not finite", () => {
    const start = starts[0]!;
    const stored = storedOf(start);
    stored.values[4] = Number.NaN;
    for (const init of ["pissa", "pissa_niter_2", "olora"]) {
      expect(() => baseStart(stored, targetOf(start, init), 42)).toThrow(
        "w.weight holds numbers that are not finite",
      );
    }
  });
});

describe("singular values", () => {
  it.each(starts.filter(({ columns }) => columns < 100))(
    "are PyTorch's, and their vectors orthonormal: $kind [$rows, $columns]",
    (start) => {
      const { rows, columns, r } = start;
      const { values, left, right } = largestSingular({ values: matrixOf(start), rows, columns }, r);
      const rank = Number(/^rank(\d+)$/.exec(start.kind)?.[1] ?? r);
      values.forEach((value, j) => {
        if (j >= rank) expect(value).toBeLessThan(1e-6 * values[0]!);
        else expect(Math.abs(value - start.values[j]!)).toBeLessThan(1e-9 * start.values[j]!);
      });
      const short = rows <= columns ? left : right;
      expectOrthonormal(short);
      expectOrthonormal((rows <= columns ? right : left).slice(0, start.kind === "graded" ? 10 : rank));
    },
  );

  it("may all be the same", () => {
    const values = Float32Array.from({ length: 24 * 24 }, (_, i) => (i % 25 === 0 ? 3 : 0));
    const found = largestSingular({ values, rows: 24, columns: 24 }, 24);
    for (const value of found.values) expect(value).toBeCloseTo(3, 12);
    expectOrthonormal(found.left);
    expectOrthonormal(found.right);
  });

  it("may all be zero", () => {
    const found = largestSingular({ values: new Float32Array(30), rows: 5, columns: 6 }, 3);
    expect(found.values).toEqual([0, 0, 0]);
    expectOrthonormal(found.left);
    const start = Array.from({ length: 3 }, (_, j) => Float64Array.of(1, j, 0, 0, 2));
    expect(
      approximateSingular({ values: new Float32Array(30), rows: 5, columns: 6 }, start, 2).values,
    ).toEqual([0, 0, 0]);
  });
});

describe("eigenvectors", () => {
  it("are found one and all of a matrix of one row, of two, and of a diagonal", () => {
    expect(largestEigenvectors(Float64Array.of(-4), 1, 1).map((x) => Math.abs(x[0]!))).toEqual([1]);
    const [first, second] = largestEigenvectors(Float64Array.of(2, 0, 1, 2), 2, 2);
    expect(Math.abs(first![0]! - first![1]!)).toBeLessThan(1e-12);
    expect(Math.abs(second![0]! + second![1]!)).toBeLessThan(1e-12);
    const diagonal = Float64Array.from(
      { length: 16 },
      (_, i) => [5, 0, 0, 0, 0, -7, 0, 0, 0, 0, 5, 0, 0, 0, 0, 1][i]!,
    );
    const found = largestEigenvectors(diagonal, 4, 4);
    expectOrthonormal(found);
    expect(found[2]!.map(Math.abs)[3]).toBeCloseTo(1, 12);
    expect(found[3]!.map(Math.abs)[1]).toBeCloseTo(1, 12);
  });
});

describe("orthonormal columns", () => {
  it("have LAPACK's signs: a column that lies as it should stays, and any other is turned away from its first number", () => {
    const q = orthonormal([Float64Array.of(3, 4, 0), Float64Array.of(0, 0, -2)]);
    expect([...q[0]!].map((value) => value.toFixed(12))).toEqual([
      "-0.600000000000",
      "-0.800000000000",
      "0.000000000000",
    ]);
    expect(
      orthonormal([Float64Array.of(-3, 0), Float64Array.of(1, -5)]).map((column) => [...column]),
    ).toEqual([
      [1, 0],
      [0, 1],
    ]);
  });
});
