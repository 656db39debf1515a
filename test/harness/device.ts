/** The device of a test file: asked for before its tests, given back behind them. */
import { afterAll, beforeAll } from "vitest";
import { type NodeDeviceRequest, requestNodeDevice } from "../../src/cli/device.ts";
import { type DeviceTraits, Gpu } from "../../src/gpu/device.ts";
import { Kernels } from "../../src/gpu/kernels.ts";

/** There once the tests run. */
export interface TestDevice {
  readonly device: GPUDevice;
  readonly gpu: Gpu;
  readonly kernels: Kernels;
}

/** With WebGPU's guaranteed limits alone, unless a test asks for more. */
export function testDevice(
  request: NodeDeviceRequest = { limits: "default" },
  traits: Partial<DeviceTraits> = {},
): TestDevice {
  const made: { -readonly [Part in keyof TestDevice]?: TestDevice[Part] } = {};
  beforeAll(async () => {
    const { device } = await requestNodeDevice(request);
    made.device = device;
    made.gpu = new Gpu(device, traits);
    made.kernels = new Kernels(made.gpu);
  });
  afterAll(() => made.device?.destroy());
  return made as TestDevice;
}
