/** Writes down what the engine asks of the device, through the prototypes, inside the training worker. */
import type { Worker } from "playwright-core";

export interface DeviceCall {
  readonly name: string;
  /** Of a writeBuffer. */
  readonly bytes?: number;
  /** What the buffer is called. */
  readonly label?: string;
}

/** Everything that makes something on the device. */
export const CREATIONS = [
  "createBuffer",
  "createTexture",
  "createBindGroup",
  "createShaderModule",
  "createComputePipeline",
  "createComputePipelineAsync",
];

/**
 * From now on every call is written down, and "mapped" when a mapAsync has come back. "prepared" stands where the
 * engine waits for the device after preparing. Later waits for it only measure how long a submit took, to cut it
 * where it took too long: they get no answer, so that a slow machine counts the same submits as a fast one.
 */
export async function logDeviceCalls(worker: Worker): Promise<void> {
  await worker.evaluate((creations) => {
    const log: { name: string; bytes?: number; label?: string }[] = [];
    Object.assign(globalThis, { deviceCalls: log });
    // biome-ignore lint/suspicious/noExplicitAny: methods of any kind are wrapped alike
    type Method = (...args: any[]) => unknown;
    const wrap = (
      prototype: object,
      name: string,
      around: (call: () => unknown, args: unknown[], self: object) => unknown,
    ) => {
      const methods = prototype as Record<string, Method>;
      const method = methods[name]!;
      methods[name] = function (this: object, ...args: unknown[]) {
        return around(() => method.apply(this, args), args, this);
      };
    };
    for (const name of creations) {
      wrap(GPUDevice.prototype, name, (call) => {
        log.push({ name });
        return call();
      });
    }
    wrap(GPUQueue.prototype, "submit", (call) => {
      log.push({ name: "submit" });
      return call();
    });
    wrap(GPUQueue.prototype, "writeBuffer", (call, [buffer, , source, start = 0, size]) => {
      const elements = source as Uint32Array;
      const count = (size as number | undefined) ?? elements.length - (start as number);
      const bytes = count * elements.BYTES_PER_ELEMENT;
      log.push({ name: "writeBuffer", bytes, label: (buffer as GPUBuffer).label });
      return call();
    });
    wrap(GPUBuffer.prototype, "mapAsync", (call) => {
      log.push({ name: "mapAsync" });
      const mapped = call() as Promise<void>;
      void mapped.then(() => log.push({ name: "mapped" }));
      return mapped;
    });
    wrap(GPUQueue.prototype, "onSubmittedWorkDone", async (call) => {
      if (log.some(({ name }) => name === "prepared")) return new Promise(() => {});
      const done = await (call() as Promise<unknown>);
      log.push({ name: "prepared" });
      return done;
    });
  }, CREATIONS);
}

export function readDeviceCalls(worker: Worker): Promise<DeviceCall[]> {
  return worker.evaluate(() => (globalThis as unknown as { deviceCalls: DeviceCall[] }).deviceCalls);
}

/** Makes one of each kind of thing on a device of its own. */
export async function makeEverything(worker: Worker): Promise<void> {
  await worker.evaluate(async () => {
    const device = await (await navigator.gpu.requestAdapter())!.requestDevice();
    device.createTexture({ size: [1], format: "r32float", usage: GPUTextureUsage.COPY_DST });
    const buffer = device.createBuffer({ size: 256, usage: GPUBufferUsage.STORAGE });
    const code = `
      @group(0) @binding(0) var<storage, read_write> x: array<u32>;
      @compute @workgroup_size(1) fn one() { x[0] = 1u; }`;
    const compute = { module: device.createShaderModule({ code }) };
    const pipeline = device.createComputePipeline({ layout: "auto", compute });
    await device.createComputePipelineAsync({ layout: "auto", compute });
    const layout = pipeline.getBindGroupLayout(0);
    device.createBindGroup({ layout, entries: [{ binding: 0, resource: { buffer } }] });
    device.destroy();
  });
}
