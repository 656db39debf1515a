/** A WebGPU device in Node, from Dawn. Which driver it finds is settled by the environment (scripts/gpu-env.mjs). */
import { DeviceError } from "../base/errors.ts";
import { adapterLimits, describeAdapter, helpfulFeatures } from "../gpu/request.ts";
import { faultError, lostError } from "../worker/device.ts";

export interface NodeDevice {
  readonly gpu: GPU;
  readonly adapter: GPUAdapter;
  readonly device: GPUDevice;
  /** For people: "NVIDIA H100 (nvidia hopper)", "SwiftShader driver 5.0.0 (software: no GPU was found)". */
  readonly description: string;
  /** A CPU does the work. */
  readonly software: boolean;
}

export interface NodeDeviceRequest {
  /**
   * "adapter" (the default) asks for all that the adapter has, "default" for WebGPU's guaranteed limits only, a
   * record for the limits that it names. No device has less than what is guaranteed, whatever is asked.
   */
  readonly limits?: "adapter" | "default" | Readonly<Record<string, number>>;
  /** Features to enable where the adapter has them. */
  readonly features?: readonly GPUFeatureName[];
}

// Dawn lives as long as this object does; once it is collected, every call into its adapters and devices crashes.
let dawn: GPU | undefined;

async function startDawn(): Promise<GPU> {
  if (dawn) return dawn;
  const { create, globals } = await import("webgpu");
  // GPUBufferUsage, GPUMapMode and their like, which a browser has as globals.
  Object.assign(globalThis, globals);
  dawn = create([]);
  return dawn;
}

export async function requestNodeDevice(request: NodeDeviceRequest = {}): Promise<NodeDevice> {
  // scripts/gpu-env.mjs has looked already.
  if (process.env.GRAFT_GPU === "none") throw noAdapter();
  const gpu = await startDawn();
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw noAdapter();
  const { info } = adapter;
  const software = info.isFallbackAdapter;
  const features = (request.features ?? helpfulFeatures).filter((feature) => adapter.features.has(feature));
  const device = await adapter.requestDevice({
    requiredFeatures: features,
    requiredLimits: requiredLimits(adapter, request.limits ?? "adapter"),
  });
  return { gpu, adapter, device, software, description: describeAdapter(info) };
}

function noAdapter(): DeviceError {
  return new DeviceError(
    "no-adapter",
    "No GPU was found that Vulkan, Metal or Direct3D can use, nor a browser whose software driver could stand in.",
    "Install Chromium or Chrome (Debian and Ubuntu: apt-get install chromium libvulkan1; anywhere: " +
      "npx playwright-core install chromium), or the Vulkan driver of your GPU.",
  );
}

function requiredLimits(
  adapter: GPUAdapter,
  limits: NonNullable<NodeDeviceRequest["limits"]>,
): Record<string, number> {
  if (limits === "default") return {};
  if (limits !== "adapter") return { ...limits };
  return adapterLimits(adapter);
}

/** Rejects when the device is lost, or fails at something it was asked to do. */
export function trouble(device: GPUDevice): Promise<never> {
  return new Promise((_, reject) => {
    void device.lost.then((info) => reject(lostError(info)));
    device.addEventListener("uncapturederror", ({ error }) => reject(faultError(error)));
  });
}
