/** The step in TensorFlow.js on its WebGPU backend, operation by operation, with its own Adam. */
import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-core/dist/register_all_gradients";
import "@tensorflow/tfjs-backend-webgpu";
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

export async function acquire(): Promise<void> {
  if (!(await tf.setBackend("webgpu"))) throw new Error("TensorFlow.js found no WebGPU.");
  await tf.ready();
}

function upload({ shape, values }: Matrix): tf.Tensor2D {
  return tf.tensor2d(values, [...shape]);
}

function perModule<T>(make: (name: ModuleName) => T): Record<ModuleName, T> {
  return Object.fromEntries(moduleNames.map((name) => [name, make(name)])) as Record<ModuleName, T>;
}

export async function start(problem: Problem): Promise<Run> {
  const { size } = problem;
  const { rows, length, heads, width, vocabulary } = size;
  const headWidth = width / heads;
  const tokens = rows * length;
  const tables = rotaryTables(size);
  const embedding = upload(problem.embedding);
  const gain = tf.ones([width]);
  const cos = tf.reshape(upload(tables.cos), [1, length, 1, headWidth / 2]);
  const sin = tf.reshape(upload(tables.sin), [1, length, 1, headWidth / 2]);
  const layers = problem.layers.map((layer, i) =>
    perModule((name) => {
      const variable = (half: "a" | "b"): tf.Variable =>
        tf.variable(upload(layer[name][half]), true, `${i}.${name}.${half}`);
      return { weight: upload(layer[name].weight), a: variable("a"), b: variable("b") };
    }),
  );
  const trained = layers.flatMap((layer) => moduleNames.flatMap((name) => [layer[name].a, layer[name].b]));
  const given = inputsAndTargets(problem);
  const inputs = tf.tensor1d(given.inputs, "int32");
  const targets = tf.tidy(() => tf.oneHot(tf.tensor1d(given.targets, "int32"), vocabulary, 1, 0, "float32"));
  const future = tf.tensor2d(
    Float32Array.from({ length: length * length }, (_, at) =>
      at % length > Math.floor(at / length) ? -1e9 : 0,
    ),
    [length, length],
  );

  const norm = (x: tf.Tensor): tf.Tensor => {
    const meanSquare = tf.mean(tf.square(x), -1, true);
    return tf.mul(tf.mul(x, tf.rsqrt(tf.add(meanSquare, normEps))), gain);
  };
  const turn = (x: tf.Tensor): tf.Tensor => {
    const [left, right] = tf.split(x, 2, -1) as [tf.Tensor, tf.Tensor];
    const turnedLeft = tf.sub(tf.mul(left, cos), tf.mul(right, sin));
    return tf.concat([turnedLeft, tf.add(tf.mul(right, cos), tf.mul(left, sin))], -1);
  };
  const toHeads = (x: tf.Tensor, rotates: boolean): tf.Tensor => {
    const split = tf.reshape(x, [rows, length, heads, headWidth]);
    return tf.transpose(rotates ? turn(split) : split, [0, 2, 1, 3]);
  };
  const lossOf = (): tf.Scalar => {
    let h: tf.Tensor = tf.gather(embedding, inputs);
    for (const layer of layers) {
      const adapted = (name: ModuleName, x: tf.Tensor): tf.Tensor => {
        const { weight, a, b } = layer[name];
        const change = tf.matMul(tf.matMul(x, a, false, true), b, false, true);
        return tf.add(tf.matMul(x, weight, false, true), tf.mul(change, loraScale));
      };
      const x = norm(h);
      const q = toHeads(adapted("q", x), true);
      const k = toHeads(adapted("k", x), true);
      const v = toHeads(adapted("v", x), false);
      const scores = tf.mul(tf.matMul(q, k, false, true), headWidth ** -0.5);
      const seen = tf.matMul(tf.softmax(tf.add(scores, future)), v);
      h = tf.add(h, adapted("o", tf.reshape(tf.transpose(seen, [0, 2, 1, 3]), [tokens, width])));
      const y = norm(h);
      const gate = adapted("gate", y);
      h = tf.add(h, adapted("down", tf.mul(tf.mul(gate, tf.sigmoid(gate)), adapted("up", y))));
    }
    const logits = tf.matMul(norm(h), embedding, false, true);
    return tf.neg(tf.mean(tf.sum(tf.mul(tf.logSoftmax(logits), targets), -1)));
  };

  const optimizer = tf.train.adam(adam.learningRate, adam.beta1, adam.beta2, adam.epsilon);
  return {
    async step() {
      const { value, grads } = tf.variableGrads(lossOf, trained);
      optimizer.applyGradients(Object.entries(grads).map(([name, tensor]) => ({ name, tensor })));
      tf.dispose(grads);
      // Reading submits what was encoded, the update too, and is answered after it.
      const [loss] = await value.data();
      value.dispose();
      return loss!;
    },
  };
}
