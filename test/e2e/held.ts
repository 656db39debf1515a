/** Work of the training worker's that goes no further until the page stops it: so a test can, however fast the machine is. */
import type { Worker } from "playwright-core";

/** What the worker's `globalThis` holds once `stoppedBy` was called. */
interface Stoppable {
  readonly stopped: Promise<void>;
}

/** In the worker, `globalThis.stopped` resolves when the page calls this method of the engine's. */
function stoppedBy(worker: Worker, method: string): Promise<void> {
  return worker.evaluate((method) => {
    const stopped = new Promise<void>((resolve) => {
      // Behind the engine's own listener, which has stopped its work by then.
      addEventListener("message", ({ data }) => {
        if ((data as { path?: readonly string[] }).path?.includes(method)) resolve();
      });
    });
    Object.assign(globalThis, { stopped } satisfies Stoppable);
  }, method);
}

/** Nothing more is written to the disk until an export is told to stop. */
export async function holdWritesUntilStopped(worker: Worker): Promise<void> {
  await stoppedBy(worker, "stopExport");
  await worker.evaluate(() => {
    const { stopped } = globalThis as unknown as Stoppable;
    const { prototype } = FileSystemWritableFileStream;
    const { write } = prototype;
    prototype.write = async function (piece) {
      await stopped;
      return write.call(this, piece);
    };
  });
}

/** The base's weights are read no further until an adapter's opening is told to stop. */
export async function holdWeightsUntilStopped(worker: Worker): Promise<void> {
  await stoppedBy(worker, "stopOpeningAdapter");
  await worker.evaluate(() => {
    const { stopped } = globalThis as unknown as Stoppable;
    const { slice } = Blob.prototype;
    Blob.prototype.slice = function (...range) {
      const part = slice.apply(this, range);
      if (!(this instanceof File) || this.name !== "model.safetensors") return part;
      const read = part.arrayBuffer.bind(part);
      part.arrayBuffer = () => stopped.then(read);
      return part;
    };
  });
}

/** Of scoring nothing comes back from the device until answering is told to stop. */
export async function holdScoringUntilStopped(worker: Worker): Promise<void> {
  await stoppedBy(worker, "stopAnswers");
  await worker.evaluate(() => {
    const { stopped } = globalThis as unknown as Stoppable;
    let isScoring = false;
    addEventListener("message", ({ data }) => {
      const { path, argumentList } = data as {
        path?: readonly string[];
        argumentList?: { value: { prompts: unknown[] } }[];
      };
      // Dozens of prompts at once: people ask a few.
      if (path?.includes("answers")) isScoring = argumentList![0]!.value.prompts.length > 20;
    });
    const { prototype } = GPUBuffer;
    const { mapAsync } = prototype;
    prototype.mapAsync = async function (...range) {
      if (isScoring) await stopped;
      return mapAsync.apply(this, range);
    };
  });
}

/** Rows are tokenised turn by turn, each when what this gives is called; told to stop, opening goes on to its end. */
export async function tokenisingByTurns(worker: Worker): Promise<() => Promise<void>> {
  await worker.evaluate(() => {
    const wait = setTimeout;
    let granted = 0;
    let goOn: (() => void) | undefined;
    const take = (): void => {
      const call = goOn;
      goOn = undefined;
      if (call) call();
      else granted++;
    };
    addEventListener("message", ({ data }) => {
      if (!(data as { path?: readonly string[] }).path?.includes("stopOpening")) return;
      granted = 0;
      if (goOn) take();
    });
    // Between its turns tokenising waits for no time, and nothing else in the worker does.
    const held = (call: () => void, ms?: number): unknown => {
      if (ms !== undefined) return wait(call, ms);
      goOn = call;
      if (granted === 0) return undefined;
      granted--;
      return take();
    };
    Object.assign(globalThis, { setTimeout: held, takeTurn: take });
  });
  return () => worker.evaluate(() => (globalThis as unknown as { takeTurn(): void }).takeTurn());
}
