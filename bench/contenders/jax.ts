/** The step in jax-js, traced and compiled as a whole by its `jit`. Its arrays are used up by what reads them. */
import { blockUntilReady, defaultDevice, init, jit, nn, numpy as np, tree, valueAndGrad } from "@jax-js/jax";
import type { Run } from "../contender.ts";
import {
  adam,
  inputsAndTargets,
  loraScale,
  type Matrix,
  type ModuleName,
  moduleNames,
  normEps,
  type Problem,
  rotaryTables,
} from "../problem.ts";

type Arrays<Key extends string> = Record<Key, np.Array>;
type Factors = Record<ModuleName, Arrays<"a" | "b">>;
interface Frozen {
  [part: string]: np.Array | Arrays<ModuleName | "attentionGain" | "mlpGain">[];
  embedding: np.Array;
  gain: np.Array;
  cos: np.Array;
  sin: np.Array;
  layers: Arrays<ModuleName | "attentionGain" | "mlpGain">[];
}

export async function acquire(): Promise<void> {
  const devices = await init("webgpu");
  if (!devices.includes("webgpu")) throw new Error("jax-js found no WebGPU.");
  defaultDevice("webgpu");
}

function upload({ shape, values }: Matrix): np.Array {
  return np.array(values).reshape([...shape]);
}

function perModule<T>(make: (name: ModuleName) => T): Record<ModuleName, T> {
  return Object.fromEntries(moduleNames.map((name) => [name, make(name)])) as Record<ModuleName, T>;
}

export async function start(problem: Problem): Promise<Run> {
  const { size } = problem;
  const { rows, length, heads, width } = size;
  const headWidth = width / heads;
  const tokens = rows * length;
  const tables = rotaryTables(size);
  const gain = (): np.Array => np.ones([width]);
  const frozen: Frozen = {
    embedding: upload(problem.embedding),
    gain: gain(),
    cos: upload(tables.cos).reshape([1, length, 1, headWidth / 2]),
    sin: upload(tables.sin).reshape([1, length, 1, headWidth / 2]),
    layers: problem.layers.map((layer) => ({
      ...perModule((name) => upload(layer[name].weight)),
      attentionGain: gain(),
      mlpGain: gain(),
    })),
  };
  let factors: Factors[] = problem.layers.map((layer) =>
    perModule((name) => ({ a: upload(layer[name].a), b: upload(layer[name].b) })),
  );
  const zeros = (): Factors[] => tree.map((x: np.Array) => np.zeros(x.shape), factors);
  let means = zeros();
  let squares = zeros();
  const given = inputsAndTargets(problem);
  const inputs = np.array(given.inputs, { dtype: np.int32 });
  const targets = np.array(given.targets, { dtype: np.int32 }).reshape([tokens, 1]);

  const norm = (x: np.Array, gain: np.Array): np.Array => {
    const meanSquare = np.mean(np.square(x.ref), -1, { keepdims: true });
    return x.mul(np.reciprocal(np.sqrt(meanSquare.add(normEps)))).mul(gain);
  };
  const turn = (x: np.Array, { cos, sin }: Frozen): np.Array => {
    const [left, right] = np.split(x, 2, -1) as [np.Array, np.Array];
    const turnedLeft = left.ref.mul(cos.ref).sub(right.ref.mul(sin.ref));
    return np.concatenate([turnedLeft, right.mul(cos.ref).add(left.mul(sin.ref))], -1);
  };
  const lossOf = (factors: Factors[], frozen: Frozen, inputs: np.Array, targets: np.Array): np.Array => {
    let h = np.take(frozen.embedding.ref, inputs, 0);
    frozen.layers.forEach((layer, i) => {
      const adapted = (name: ModuleName, x: np.Array): np.Array => {
        const { a, b } = factors[i]![name];
        const change = np.matmul(np.matmul(x.ref, a.transpose()), b.transpose());
        return np.matmul(x, layer[name].transpose()).add(change.mul(loraScale));
      };
      const x = norm(h.ref, layer.attentionGain);
      const inHeads = (y: np.Array): np.Array => y.reshape([rows, length, heads, headWidth]);
      const q = turn(inHeads(adapted("q", x.ref)), frozen);
      const k = turn(inHeads(adapted("k", x.ref)), frozen);
      const v = inHeads(adapted("v", x));
      const seen = nn.dotProductAttention(q, k, v, { isCausal: true }).reshape([tokens, width]);
      h = h.add(adapted("o", seen));
      const y = norm(h.ref, layer.mlpGain);
      const inner = nn.silu(adapted("gate", y.ref)).mul(adapted("up", y));
      h = h.add(adapted("down", inner));
    });
    frozen.cos.dispose();
    frozen.sin.dispose();
    const logits = np.matmul(norm(h, frozen.gain), frozen.embedding.transpose());
    const normaliser = nn.logsumexp(logits.ref, -1, { keepdims: true });
    return np.mean(normaliser.sub(np.takeAlongAxis(logits, targets, 1)));
  };

  const update = jit(
    (
      factors: Factors[],
      means: Factors[],
      squares: Factors[],
      rate: np.Array,
      correction: np.Array,
      frozen: Frozen,
      inputs: np.Array,
      targets: np.Array,
    ): [np.Array, Factors[], Factors[], Factors[]] => {
      const [loss, gradients] = valueAndGrad(lossOf)(tree.ref(factors), frozen, inputs, targets);
      const blend = (share: number, old: np.Array, fresh: np.Array): np.Array =>
        old.mul(share).add(fresh.mul(1 - share));
      const newMeans = tree.map(
        (m: np.Array, g: np.Array) => blend(adam.beta1, m, g),
        means,
        tree.ref(gradients),
      );
      const newSquares = tree.map(
        (v: np.Array, g: np.Array) => blend(adam.beta2, v, np.square(g)),
        squares,
        gradients,
      );
      const stepped = tree.map(
        (p: np.Array, m: np.Array, v: np.Array) =>
          p.sub(m.mul(rate.ref).div(np.sqrt(v.mul(correction.ref)).add(adam.epsilon))),
        factors,
        tree.ref(newMeans),
        tree.ref(newSquares),
      );
      rate.dispose();
      correction.dispose();
      return [loss, stepped, newMeans, newSquares];
    },
  );

  let step = 0;
  return {
    async step() {
      step++;
      const rate = np.array(adam.learningRate / (1 - adam.beta1 ** step));
      const correction = np.array(1 / (1 - adam.beta2 ** step));
      const [loss, ...state] = update(
        factors,
        means,
        squares,
        rate,
        correction,
        tree.ref(frozen),
        inputs.ref,
        targets.ref,
      );
      [factors, means, squares] = state;
      const [value] = await loss.data();
      await blockUntilReady(factors);
      return value!;
    },
  };
}
