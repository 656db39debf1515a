/** What Graft asks of an adapter, in a browser and in Node alike, and how it tells people which one it is. */

/** They make things faster or more informative; nothing needs them. */
export const helpfulFeatures: readonly GPUFeatureName[] = ["timestamp-query", "shader-f16", "subgroups"];

const helpfulLimits = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxUniformBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
  "maxComputeWorkgroupsPerDimension",
] as const satisfies readonly (keyof GPUSupportedLimits)[];

/** All that the adapter has of the limits that help. */
export function adapterLimits(adapter: GPUAdapter): Record<string, number> {
  return Object.fromEntries(helpfulLimits.map((name) => [name, adapter.limits[name]]));
}

/** For people: "NVIDIA H100 (nvidia hopper)", "SwiftShader driver 5.0.0 (software: no GPU was found)". */
export function describeAdapter(info: GPUAdapterInfo): string {
  const family = [info.vendor, info.architecture].filter(Boolean).join(" ");
  if (info.isFallbackAdapter) return `${info.description || family} (software: no GPU was found)`;
  const name = info.device || info.description;
  if (!name) return family || "a GPU that does not say its name";
  return family ? `${name} (${family})` : name;
}
