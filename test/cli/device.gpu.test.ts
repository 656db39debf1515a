import { afterEach, describe, expect, it, vi } from "vitest";
import { requestNodeDevice } from "../../src/cli/device.ts";

afterEach(() => vi.unstubAllEnvs());

describe("the device in Node", () => {
  it("says what to install where neither a GPU nor a driver was found", async () => {
    vi.stubEnv("GRAFT_GPU", "none");
    await expect(requestNodeDevice()).rejects.toThrow(/^No GPU was found.*Install Chromium or Chrome/);
  });

  it("runs a kernel", async () => {
    const { device, description } = await requestNodeDevice();
    expect(description).not.toBe("");
    const size = 4 * 100;
    const y = device.createBuffer({ size, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC });
    const copy = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    const code = `
      @group(0) @binding(0) var<storage, read_write> y: array<f32>;
      @compute @workgroup_size(64) fn squares(@builtin(global_invocation_id) id: vec3u) {
        if (id.x < arrayLength(&y)) { y[id.x] = f32(id.x * id.x); }
      }`;
    const pipeline = await device.createComputePipelineAsync({
      layout: "auto",
      compute: { module: device.createShaderModule({ code }) },
    });
    const layout = pipeline.getBindGroupLayout(0);
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(
      0,
      device.createBindGroup({ layout, entries: [{ binding: 0, resource: { buffer: y } }] }),
    );
    pass.dispatchWorkgroups(2);
    pass.end();
    encoder.copyBufferToBuffer(y, 0, copy, 0, size);
    device.queue.submit([encoder.finish()]);
    await copy.mapAsync(GPUMapMode.READ);
    expect([...new Float32Array(copy.getMappedRange())]).toEqual(
      Array.from({ length: 100 }, (_, i) => i * i),
    );
    device.destroy();
  });

  it("has all that the adapter has, unless asked for what every device has", async () => {
    const whole = await requestNodeDevice();
    const plain = await requestNodeDevice({ limits: "default", features: [] });
    const raised = await requestNodeDevice({ limits: { maxBufferSize: whole.adapter.limits.maxBufferSize } });
    expect(whole.device.limits.maxStorageBufferBindingSize).toBe(
      whole.adapter.limits.maxStorageBufferBindingSize,
    );
    expect(plain.device.limits.maxStorageBufferBindingSize).toBe(128 * 1024 * 1024);
    expect(plain.device.features.has("subgroups")).toBe(false);
    expect(raised.device.limits.maxBufferSize).toBe(whole.adapter.limits.maxBufferSize);
    expect(raised.device.limits.maxStorageBufferBindingSize).toBe(128 * 1024 * 1024);
    for (const { device } of [whole, plain, raised]) device.destroy();
  });
});
