/**
 * The process that holds the device: runs one case at a time, with a broken shader or without. The runner kills it
 * where a mutant hangs, and starts another.
 */
import { requestNodeDevice } from "../../src/cli/device.ts";
import { setShaderText } from "../../src/gpu/shaders.ts";
import { KernelBench } from "../harness/bench.ts";
import type { KernelSuite } from "../harness/cases.ts";
import type { CaseName, Outcome, Replacement, Report, Request } from "./messages.ts";

// Fresh input for every mutant would make a verdict a matter of luck.
process.env.GRAFT_SEED ??= "1";

const modules = import.meta.glob<{ suite: KernelSuite }>("../ops/*.gpu.test.ts");

async function readSuites(): Promise<Map<string, KernelSuite>> {
  const suites = new Map<string, KernelSuite>();
  for (const load of Object.values(modules)) {
    const { suite } = await load();
    suites.set(suite.shader, suite);
  }
  return suites;
}

function namesOf(suites: ReadonlyMap<string, KernelSuite>): CaseName[] {
  return [...suites].flatMap(([shader, { cases }]) =>
    cases.map(({ name, passes }, index) => ({ shader, index, name, passes })),
  );
}

/** A device that notes what it is asked for, and what it refuses. */
class WatchedDevice {
  /** What it says against a shader or pipeline: a kernel that is only wrong hears nothing. */
  readonly refusals: string[] = [];
  /** Keys of the pipelines made (see kernelKey). */
  readonly pipelines = new Set<string>();
  private replacement: Replacement | undefined;
  readonly device: GPUDevice;
  private readonly texts = new WeakMap<GPUShaderModule, string>();
  private readonly unbroken = new Map<string, GPUShaderModule>();
  private readonly listeners: (() => void)[] = [];
  private readonly checks: Promise<void>[] = [];
  /** Modules and pipelines of unbroken shaders: what is held need not be compiled again. */
  private readonly held = new Map<string, unknown>();
  /** Pipelines of the broken shader at hand, for as long as its cases are asked one after another. */
  private readonly broken = new Map<string, unknown>();

  constructor(device: GPUDevice) {
    this.device = device;
    const createModule = device.createShaderModule.bind(device);
    device.createShaderModule = (descriptor) => {
      const module = createModule(descriptor);
      this.texts.set(module, descriptor.code);
      this.checks.push(
        module.getCompilationInfo().then(({ messages }) => {
          for (const { type, message } of messages) if (type === "error") this.refusals.push(message);
        }),
      );
      return module;
    };
    const createPipeline = device.createComputePipelineAsync.bind(device);
    device.createComputePipelineAsync = async (descriptor) => {
      const key = descriptor.label ?? "";
      this.pipelines.add(key);
      const { module, entryPoint } = descriptor.compute;
      const { original, text, entry } = this.replacement ?? {};
      const code = this.texts.get(module)!;
      const concerned = text !== undefined && code.includes(text) && (entry ?? entryPoint) === entryPoint;
      const made = { ...descriptor.compute };
      if (!concerned && text !== undefined && original !== undefined && code.includes(text)) {
        const whole = code.replace(text, () => original);
        if (!this.unbroken.has(whole)) this.unbroken.set(whole, createModule({ code: whole }));
        made.module = this.unbroken.get(whole)!;
      }
      try {
        const pipeline = await createPipeline({ ...descriptor, compute: made });
        (concerned ? this.broken : this.held).set(key, pipeline);
        return pipeline;
      } catch (error) {
        this.refusals.push(error instanceof Error ? error.message : String(error));
        throw error;
      }
    };
    const listen = device.addEventListener.bind(device);
    device.addEventListener = (type: string, listener: EventListenerOrEventListenerObject) => {
      listen(type, listener);
      this.listeners.push(() => device.removeEventListener(type, listener));
    };
  }

  /** Before a case: what it shall break. */
  replace(replacement: Replacement | undefined): void {
    if (replacement?.text !== this.replacement?.text) this.broken.clear();
    this.replacement = replacement;
  }

  /** After a case; resolves when all that it asked for has been answered. */
  async settle(): Promise<void> {
    await Promise.all(this.checks.splice(0));
    for (const remove of this.listeners.splice(0)) remove();
  }
}

let watched: WatchedDevice | undefined;
// Dawn's objects live as long as these do.
const devices: unknown[] = [];

async function run(suites: ReadonlyMap<string, KernelSuite>, request: Request): Promise<Outcome> {
  const test = suites.get(request.shader)?.cases[request.index];
  if (!test) throw new Error(`There is no case ${request.index} of ${request.shader}.`);
  if (!watched) {
    const node = await requestNodeDevice();
    devices.splice(0, devices.length, node);
    watched = new WatchedDevice(node.device);
  }
  const { device, refusals, pipelines } = watched;
  pipelines.clear();
  watched.replace(request.replacement);
  const restore = request.replacement && setShaderText(request.replacement.file, request.replacement.text);
  const start = performance.now();
  const elapsedMs = () => performance.now() - start;
  try {
    await test.run(new KernelBench(device, devices));
    await watched.settle();
    return { kind: "passed", elapsedMs: elapsedMs(), pipelines: [...pipelines] };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    await watched.settle();
    // Only a comparison comes after everything is cleared away; else the next case gets a device of its own.
    if (!message.includes("GRAFT_SEED=")) {
      watched = undefined;
      device.destroy();
    }
    if (refusals.length > 0) return { kind: "refused", message: refusals[0]! };
    return { kind: "failed", elapsedMs: elapsedMs(), message };
  } finally {
    restore?.();
  }
}

const say = (report: Report) => process.send?.(report);

try {
  const suites = await readSuites();
  process.on("message", (request: Request) => {
    run(suites, request).then(say, (error: unknown) => say({ kind: "broken", message: String(error) }));
  });
  process.on("disconnect", () => process.exit());
  const { description } = await requestNodeDevice();
  say({ kind: "ready", cases: namesOf(suites), device: description });
} catch (error) {
  say({ kind: "broken", message: error instanceof Error ? (error.stack ?? error.message) : String(error) });
}
