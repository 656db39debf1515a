/** A worker's host in Node, and the files that a page would give it. */
import { readdirSync, readFileSync } from "node:fs";
import { afterAll } from "vitest";
import { requestNodeDevice } from "../../src/cli/device.ts";
import { startTemplateThread } from "../../src/cli/templates.ts";
import type { ExportFormat, Folder, Result } from "../../src/worker/api.ts";
import { TrainHost } from "../../src/worker/host.ts";

/** One for all tests of a file: it keeps its pipelines from run to run, and compiling is what takes time. */
export function nodeHost(): { readonly host: TrainHost; readonly devices: readonly GPUDevice[] } {
  /** Those that the host asked for, in order. */
  const devices: GPUDevice[] = [];
  afterAll(() => {
    for (const device of devices) device.destroy();
  });
  const host = new TrainHost(async () => {
    const { device, description, software, adapter } = await requestNodeDevice();
    devices.push(device);
    const { vendor, architecture } = adapter.info;
    return { device, facts: { description, vendor, architecture, software } };
  }, startTemplateThread);
  return { host, devices };
}

export function file(path: string): File {
  return new File([readFileSync(path)], path.slice(path.lastIndexOf("/") + 1));
}

export function folder(path: string): Folder {
  return { label: path, files: readdirSync(path).map((name) => file(`${path}/${name}`)) };
}

export function valueIn<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(`${result.code}: ${result.message}`);
  return result.value;
}

/** The files that a host hands over, by name. */
export async function exported(host: TrainHost, format: ExportFormat): Promise<Record<string, Uint8Array>> {
  const { files } = valueIn(await host.export(format, () => {}));
  const read = files.map(async ({ name, blob }) => [name, new Uint8Array(await blob.arrayBuffer())] as const);
  return Object.fromEntries(await Promise.all(read));
}
