/** A WebGPU device in a browser, or the reason why there is none and what to do about it. */
import { DeviceError } from "../base/errors.ts";
import { adapterLimits, describeAdapter, helpfulFeatures } from "../gpu/request.ts";
import type { DeviceFacts } from "./api.ts";

export interface FoundDevice {
  readonly device: GPUDevice;
  readonly facts: DeviceFacts;
}

export async function requestBrowserDevice(): Promise<FoundDevice> {
  // Typed as always there; in browsers without WebGPU it is not.
  const gpu = navigator.gpu as GPU | undefined;
  if (!gpu) throw globalThis.isSecureContext ? noWebGpu() : notSecure();
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw noAdapter();
  const { info } = adapter;
  let device: GPUDevice;
  try {
    device = await adapter.requestDevice({
      label: "graft",
      requiredFeatures: helpfulFeatures.filter((feature) => adapter.features.has(feature)),
      requiredLimits: adapterLimits(adapter),
    });
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new DeviceError(
      "no-device",
      `The browser found ${describeAdapter(info)} but gave no access to it: ${why}`,
      "Reload the page; if that does not help, restart the browser and update the graphics driver.",
    );
  }
  const { vendor, architecture } = info;
  const software = info.isFallbackAdapter || /swiftshader|llvmpipe|lavapipe/i.test(architecture);
  return { device, facts: { description: describeAdapter(info), vendor, architecture, software } };
}

function noWebGpu(): DeviceError {
  return new DeviceError(
    "no-webgpu",
    "This browser has no WebGPU, which Graft trains with.",
    "Open the page in a current Chrome, Edge or Opera, in Safari 26 or later, or in Firefox on Windows or a Mac. " +
      "Where WebGPU is still behind a switch, turn it on: chrome://flags/#enable-unsafe-webgpu in Chrome on Linux, " +
      "dom.webgpu.enabled in Firefox's about:config.",
  );
}

function notSecure(): DeviceError {
  return new DeviceError(
    "not-secure",
    `Browsers give WebGPU only to pages that came over a safe way, and ${globalThis.location.origin} did not.`,
    "Open the page by https, or at localhost on the machine that serves it.",
  );
}

function noAdapter(): DeviceError {
  return new DeviceError(
    "no-adapter",
    "This browser has WebGPU but offers no GPU: hardware acceleration is off, or the driver is on the browser's blocklist.",
    "Turn on hardware acceleration in the browser's settings and update the graphics driver; chrome://gpu says " +
      "what is blocked. On Linux, Chrome may want chrome://flags/#enable-unsafe-webgpu and #enable-vulkan.",
  );
}

export function lostError({ message }: GPUDeviceLostInfo): DeviceError {
  const why = message.trim();
  return new DeviceError(
    "device-lost",
    `The GPU was lost, and what the run had trained with it.${why && ` The browser says: ${why}`}`,
    "Start the run again. If it happens again, close other pages that use the GPU or choose a smaller " +
      "per_device_train_batch_size or max_length.",
  );
}

export function faultError(error: GPUError): DeviceError {
  if (error instanceof GPUOutOfMemoryError) {
    return new DeviceError(
      "out-of-memory",
      "The GPU has not enough free memory for this run.",
      "Close other pages that use the GPU, set gradient_checkpointing, or choose a smaller " +
        "per_device_train_batch_size, max_length or model.",
    );
  }
  return new DeviceError(
    "device-fault",
    `The GPU refused a command: ${error.message}`,
    "This is a defect in Graft or in the browser: please report it, with the name of the GPU.",
  );
}
