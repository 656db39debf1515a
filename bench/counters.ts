/** Counts what anybody in this page asks of WebGPU. Imported before the contenders: they may keep its functions. */

export interface Counts {
  submits: number;
  dispatches: number;
  buffers: number;
  pipelines: number;
  uploadedBytes: number;
}

const counts: Counts = { submits: 0, dispatches: 0, buffers: 0, pipelines: 0, uploadedBytes: 0 };

/** What was asked since the last call. */
export function takeCounts(): Counts {
  const taken = { ...counts };
  for (const key of Object.keys(counts) as (keyof Counts)[]) counts[key] = 0;
  return taken;
}

/** Calls `count` with the arguments of every call of a method, whichever object it is called on. */
function watch(prototype: object, name: string, count: (args: readonly unknown[]) => void): void {
  const original = Reflect.get(prototype, name) as (...args: unknown[]) => unknown;
  Reflect.set(prototype, name, function (this: unknown, ...args: unknown[]) {
    count(args);
    return original.apply(this, args);
  });
}

function count(key: keyof Counts): () => void {
  return () => {
    counts[key]++;
  };
}

watch(GPUQueue.prototype, "submit", count("submits"));
watch(GPUComputePassEncoder.prototype, "dispatchWorkgroups", count("dispatches"));
watch(GPUComputePassEncoder.prototype, "dispatchWorkgroupsIndirect", count("dispatches"));
watch(GPUDevice.prototype, "createComputePipeline", count("pipelines"));
watch(GPUDevice.prototype, "createComputePipelineAsync", count("pipelines"));
watch(GPUDevice.prototype, "createBuffer", (args) => {
  const [{ size, mappedAtCreation }] = args as Parameters<GPUDevice["createBuffer"]>;
  counts.buffers++;
  // Made to be filled by the host.
  if (mappedAtCreation) counts.uploadedBytes += size;
});
watch(GPUQueue.prototype, "writeBuffer", (args) => {
  const [, , source, from = 0, size] = args as Parameters<GPUQueue["writeBuffer"]>;
  // Offset and size count elements of a typed array, bytes of anything else.
  const unit = "BYTES_PER_ELEMENT" in source ? Number(source.BYTES_PER_ELEMENT) : 1;
  counts.uploadedBytes += size === undefined ? source.byteLength - from * unit : size * unit;
});
