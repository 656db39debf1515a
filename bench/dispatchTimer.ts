/** Times every dispatch of a device by itself: each gets a pass of its own, with a timestamp at both ends. */

export interface DispatchTime {
  /** The pipeline's label. */
  readonly label: string;
  readonly ms: number;
}

/** The most that WebGPU lets one query set hold. */
const MOST_QUERIES = 4096;

export class DispatchTimer {
  private readonly device: GPUDevice;
  private readonly queries: GPUQuerySet;
  private readonly labels: string[] = [];
  private readonly createCommandEncoder: GPUDevice["createCommandEncoder"];

  /** Needs the feature `timestamp-query`. Slows the device's passes down until `stop`. */
  constructor(device: GPUDevice) {
    this.device = device;
    this.queries = device.createQuerySet({ type: "timestamp", count: MOST_QUERIES });
    this.createCommandEncoder = device.createCommandEncoder.bind(device);
    device.createCommandEncoder = (descriptor) => {
      const encoder = this.createCommandEncoder(descriptor);
      const begin = encoder.beginComputePass.bind(encoder);
      encoder.beginComputePass = () => this.splitPass(begin);
      return encoder;
    };
  }

  /** Stands for a compute pass: what the engines ask of one. */
  private splitPass(begin: GPUCommandEncoder["beginComputePass"]): GPUComputePassEncoder {
    let pipeline: GPUComputePipeline | undefined;
    const groups = new Map<number, Parameters<GPUComputePassEncoder["setBindGroup"]>>();
    const pass = {
      setPipeline: (next: GPUComputePipeline): void => {
        pipeline = next;
      },
      setBindGroup: (...args: Parameters<GPUComputePassEncoder["setBindGroup"]>): void => {
        groups.set(args[0], args);
      },
      dispatchWorkgroups: (...size: Parameters<GPUComputePassEncoder["dispatchWorkgroups"]>): void => {
        const at = 2 * this.labels.length;
        if (at + 2 > MOST_QUERIES)
          throw new Error(`More than ${MOST_QUERIES / 2} dispatches were to be timed.`);
        this.labels.push(pipeline!.label);
        const single = begin({
          timestampWrites: {
            querySet: this.queries,
            beginningOfPassWriteIndex: at,
            endOfPassWriteIndex: at + 1,
          },
        });
        single.setPipeline(pipeline!);
        for (const args of groups.values()) single.setBindGroup(...args);
        single.dispatchWorkgroups(...size);
        single.end();
      },
      end: (): void => {},
    };
    return pass as unknown as GPUComputePassEncoder;
  }

  /** The times since the timer was made, in order of submission. Call it once the work is done. */
  async stop(): Promise<DispatchTime[]> {
    const { device, labels } = this;
    device.createCommandEncoder = this.createCommandEncoder;
    const size = Math.max(1, labels.length) * 16;
    const resolved = device.createBuffer({
      size,
      usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
    });
    const staging = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    const encoder = device.createCommandEncoder();
    encoder.resolveQuerySet(this.queries, 0, 2 * labels.length, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, size);
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    const times = new BigUint64Array(staging.getMappedRange().slice(0));
    for (const spent of [resolved, staging, this.queries]) spent.destroy();
    return labels.map((label, i) => ({ label, ms: Number(times[2 * i + 1]! - times[2 * i]!) / 1e6 }));
  }
}
