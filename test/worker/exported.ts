import type { ExportFormat } from "../../src/worker/api.ts";
import type { TrainHost } from "../../src/worker/host.ts";

/** The files that a host hands over, by name. */
export async function exported(host: TrainHost, format: ExportFormat): Promise<Record<string, Uint8Array>> {
  const result = await host.export(format, () => {});
  if (!result.ok) throw new Error(`${result.code}: ${result.message}`);
  const read = result.value.files.map(
    async ({ name, blob }) => [name, new Uint8Array(await blob.arrayBuffer())] as const,
  );
  return Object.fromEntries(await Promise.all(read));
}
