/**
 * The training step that all contenders run: a small Llama with LoRA on its seven linear modules, every number made
 * by a generator of 32 bits, so that whoever computes the step right sees the same losses.
 */

export interface ProblemSize {
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  /** Of the gated feed-forward. */
  readonly inner: number;
  readonly vocabulary: number;
  /** Targets of a row; a row has one token more. */
  readonly length: number;
  readonly rows: number;
  readonly rank: number;
}

export const benchSize: ProblemSize = {
  width: 256,
  layers: 4,
  heads: 4,
  inner: 704,
  vocabulary: 2048,
  length: 128,
  rows: 4,
  rank: 8,
};

/** Losses of the first steps at `benchSize`, in nats. */
export const benchLosses: readonly number[] = [8.01939, 7.89185, 7.76, 7.62059];

/** lora_alpha / r. */
export const loraScale = 2;
export const normEps = 1e-5;
export const rotaryTheta = 10_000;
export const adam = { learningRate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 } as const;

export interface Matrix {
  readonly shape: readonly [rows: number, columns: number];
  readonly values: Float32Array<ArrayBuffer>;
}

/** W [out, in], A [rank, in], B [out, rank]. */
export interface AdaptedLinear {
  readonly weight: Matrix;
  readonly a: Matrix;
  readonly b: Matrix;
}

/** In the order in which their numbers are drawn. */
export const moduleNames = ["q", "k", "v", "o", "gate", "up", "down"] as const;
export type ModuleName = (typeof moduleNames)[number];

export interface Problem {
  readonly size: ProblemSize;
  /** [vocabulary, width]; the output embedding too. */
  readonly embedding: Matrix;
  readonly layers: readonly Readonly<Record<ModuleName, AdaptedLinear>>[];
  /** Token ids, `length` + 1 a row. The gains of all norms are one. */
  readonly rows: readonly Uint32Array[];
}

function nextState(state: number): number {
  return (Math.imul(state, 1664525) + 1013904223) >>> 0;
}

/** Numbers in [−scale, scale). */
function draw(rows: number, columns: number, seed: number, scale: number): Matrix {
  const values = new Float32Array(rows * columns);
  let state = seed;
  for (let i = 0; i < values.length; i++) {
    state = nextState(state);
    values[i] = (state / 2 ** 32 - 0.5) * 2 * scale;
  }
  return { shape: [rows, columns], values };
}

function linearShape(name: ModuleName, { width, inner }: ProblemSize): [out: number, into: number] {
  if (name === "gate" || name === "up") return [inner, width];
  return name === "down" ? [width, inner] : [width, width];
}

function drawRows({ rows, length, vocabulary }: ProblemSize): Uint32Array[] {
  let state = 7;
  return Array.from({ length: rows }, () =>
    Uint32Array.from({ length: length + 1 }, () => {
      state = nextState(state);
      // The low bits of such a generator repeat early.
      return (state >>> 8) % vocabulary;
    }),
  );
}

export function makeProblem(size: ProblemSize = benchSize): Problem {
  let seed = 100;
  const embedding = draw(size.vocabulary, size.width, seed++, 0.1);
  const layers = Array.from({ length: size.layers }, () => {
    const linears = moduleNames.map((name): [ModuleName, AdaptedLinear] => {
      const [out, into] = linearShape(name, size);
      const weight = draw(out, into, seed++, 0.7 * Math.sqrt(3 / into));
      const a = draw(size.rank, into, seed++, 1 / Math.sqrt(into));
      const b = draw(out, size.rank, seed++, 0.01);
      return [name, { weight, a, b }];
    });
    return Object.fromEntries(linears) as Record<ModuleName, AdaptedLinear>;
  });
  return { size, embedding, layers, rows: drawRows(size) };
}

/** cos and sin of every position's angles, [length, head width / 2]. */
export function rotaryTables({ width, heads, length }: ProblemSize): { cos: Matrix; sin: Matrix } {
  const half = width / heads / 2;
  const table = (of: (angle: number) => number): Matrix => {
    const values = Float32Array.from({ length: length * half }, (_, at) =>
      of(Math.floor(at / half) * rotaryTheta ** (-(at % half) / half)),
    );
    return { shape: [length, half], values };
  };
  return { cos: table(Math.cos), sin: table(Math.sin) };
}

/** What every id predicts: the rows without their last id, and without their first, end to end. */
export function inputsAndTargets({ rows }: Problem): { inputs: Int32Array; targets: Int32Array } {
  return {
    inputs: Int32Array.from(rows.flatMap((ids) => [...ids.subarray(0, -1)])),
    targets: Int32Array.from(rows.flatMap((ids) => [...ids.subarray(1)])),
  };
}
