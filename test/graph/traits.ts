import type { DeviceTraits } from "../../src/gpu/device.ts";

/** Of a device that is only planned for. */
export const traits: DeviceTraits = {
  deviceClass: "gpu",
  vendor: "",
  maxBinding: 2 ** 27,
  maxBuffer: 2 ** 28,
  subgroups: false,
  decodesWhileLoading: false,
};
