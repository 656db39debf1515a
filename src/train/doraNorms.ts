/** n = ‖W + s·B·A‖ of every row that DoRA stretches: kept on the device, and taken anew when the adapter may have changed. */
import { GraftError } from "../base/errors.ts";
import { blockBytes, type Gpu } from "../gpu/device.ts";
import type { Kernels } from "../gpu/kernels.ts";
import type { Graph } from "../graph/graph.ts";
import { makePlan, type Plan } from "../graph/plan.ts";
import { Program } from "../graph/program.ts";
import type { Value } from "../graph/value.ts";

export class DoraNorms {
  private readonly gpu: Gpu;
  private readonly plan: Plan;
  /** Where the norms of each slice lie, by the name of their value. */
  private readonly places = new Map<string, { readonly offset: number; readonly size: number }>();
  private readonly norms: readonly Value[];
  private readonly normBytes: number;
  private live: { readonly program: Program; readonly buffer: GPUBuffer } | undefined;

  /** `graph` writes `norms`, each f32 [rows]. */
  constructor(gpu: Gpu, graph: Graph, norms: readonly Value[]) {
    this.gpu = gpu;
    this.norms = norms;
    this.plan = makePlan(graph, gpu.traits);
    let offset = 0;
    for (const { name, shape } of norms) {
      const size = 4 * (shape[0] as number);
      this.places.set(name, { offset, size });
      offset += blockBytes(size);
    }
    this.normBytes = offset;
  }

  /** Bytes on the device: of the norms, and of the program that writes them. */
  bytes(): { readonly norms: number; readonly control: number } {
    return { norms: this.normBytes, control: this.plan.bytes.control };
  }

  /** Makes the program; all else that it reads has its place by now. */
  async prepare(kernels: Kernels): Promise<void> {
    if (this.live) return;
    const buffer = this.gpu.create("norms", this.normBytes, "adapter");
    this.bind(this.norms, buffer);
    const program = await Program.create(this.gpu, kernels, this.plan);
    program.setCounts({ tokens: 1, targets: 1 });
    this.live = { program, buffer };
  }

  /** Gives norms that other graphs read their place. */
  bind(norms: readonly Value[], buffer = this.prepared().buffer): void {
    for (const norm of norms) norm.storage = { buffer, ...this.places.get(norm.name)! };
  }

  /** Takes all norms anew, after what has been submitted. */
  update(): void {
    this.prepared().program.submit();
  }

  destroy(): void {
    if (!this.live) return;
    this.live.program.destroy();
    this.gpu.destroy(this.live.buffer);
    this.live = undefined;
  }

  private prepared() {
    if (!this.live) throw new GraftError("not-prepared", "The norms were not prepared.");
    return this.live;
  }
}
