/** Pipelines, one per (file, entry point, weight format, overrides), compiled asynchronously and kept. */
import { GraftError } from "../base/errors.ts";
import type { Gpu } from "./device.ts";
import { shaderText } from "./shaders.ts";
import { type Binding, readShader, type ShaderInterface } from "./wgsl.ts";

/** How a frozen matrix is stored; names a file in `shaders/weights/`. */
export type WeightFormat = "f32" | "f16" | "bf16";

export interface KernelSpec {
  /** Path under shaders/ without the ending. "linear/quad" is joined to "linear", whose functions it uses. */
  readonly file: string;
  readonly entry: string;
  /** The weight file that is joined to the kernel, where it reads weights. */
  readonly weights?: WeightFormat | undefined;
  readonly overrides?: Readonly<Record<string, number>> | undefined;
}

export interface Kernel {
  readonly spec: KernelSpec;
  readonly bindings: readonly Binding[];
  readonly shader: ShaderInterface;
  readonly layout: GPUBindGroupLayout;
  readonly pipeline: GPUComputePipeline;
}

export function kernelKey(spec: KernelSpec): string {
  const overrides = Object.entries(spec.overrides ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  return `${spec.file}.${spec.entry}:${spec.weights ?? ""}:${overrides.map(([k, v]) => `${k}=${v}`).join(",")}`;
}

export class Kernels {
  private readonly gpu: Gpu;
  private readonly shaders = new Map<string, { module: GPUShaderModule; shader: ShaderInterface }>();
  private readonly kernels = new Map<string, Promise<Kernel>>();

  constructor(gpu: Gpu) {
    this.gpu = gpu;
  }

  /** Compiles what is missing of `specs`, all at once. `onProgress` counts distinct kernels. */
  async compile(
    specs: Iterable<KernelSpec>,
    onProgress?: (done: number, total: number) => void,
  ): Promise<Map<string, Kernel>> {
    const wanted = new Map<string, KernelSpec>();
    for (const spec of specs) wanted.set(kernelKey(spec), spec);
    let done = 0;
    const made = new Map<string, Kernel>();
    await Promise.all(
      [...wanted].map(async ([key, spec]) => {
        let pending = this.kernels.get(key);
        if (!pending) {
          pending = this.build(key, spec);
          this.kernels.set(key, pending);
        }
        made.set(key, await pending);
        onProgress?.(++done, wanted.size);
      }),
    );
    return made;
  }

  private async build(key: string, spec: KernelSpec): Promise<Kernel> {
    const { module, shader } = this.shader(spec);
    const bindings = shader.entries.get(spec.entry);
    if (!bindings)
      throw new GraftError("kernel-missing", `${spec.file}.wgsl has no entry point "${spec.entry}".`);
    const layout = this.gpu.device.createBindGroupLayout({
      label: key,
      entries: bindings.map(({ index, kind }) => ({
        binding: index,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: kind === "uniform" ? "uniform" : kind === "read" ? "read-only-storage" : "storage" },
      })),
    });
    const pipeline = await this.gpu.device.createComputePipelineAsync({
      label: key,
      layout: this.gpu.device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: spec.entry, constants: { ...spec.overrides } },
    });
    return { spec, bindings, shader, layout, pipeline };
  }

  private shader(spec: KernelSpec): { module: GPUShaderModule; shader: ShaderInterface } {
    const key = `${spec.file}:${spec.weights ?? ""}`;
    let entry = this.shaders.get(key);
    if (!entry) {
      const source = joined(spec);
      entry = {
        module: this.gpu.device.createShaderModule({ label: key, code: source }),
        shader: readShader(source),
      };
      this.shaders.set(key, entry);
    }
    return entry;
  }
}

/** A kernel's text with the parts that it needs behind it: what it enables must stand first. */
function joined({ file, weights }: KernelSpec): string {
  const folder = file.split("/").slice(0, -1);
  return [file, ...folder, ...(weights ? [`weights/${weights}`] : []), "common/live"]
    .map((part) => {
      const text = shaderText.get(part);
      if (text === undefined) throw new GraftError("kernel-missing", `There is no shaders/${part}.wgsl.`);
      return text;
    })
    .join("\n");
}
