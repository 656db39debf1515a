/** The one device: calls have it in turn, it is asked for when it is first needed, and given back when it fails. */
import { type DeviceError, failure, type Result, success } from "../base/errors.ts";
import { Gpu } from "../gpu/device.ts";
import { Kernels } from "../gpu/kernels.ts";
import type { DeviceFacts, Failure } from "./api.ts";
import { type FoundDevice, faultError, lostError } from "./device.ts";

/** How long a failed command may wait for the news that the device was lost. */
const LOSS_NEWS_MS = 1000;

export interface HeldDevice {
  readonly gpu: Gpu;
  /** Pipelines outlive a run: the next one with the same kernels compiles nothing. */
  readonly kernels: Kernels;
  readonly facts: DeviceFacts;
  readonly lost: Promise<void>;
  /** The device is lost, or something it was asked to do failed on its side: its results cannot be trusted. */
  trouble: DeviceError | undefined;
}

export class SharedDevice {
  private readonly request: () => Promise<FoundDevice>;
  private readonly onRelease: () => void;
  private held: HeldDevice | undefined;
  private lossListeners: ((lost: Failure) => void)[] = [];
  /** Calls are answered one after the other, in the order in which they came. */
  private turn: Promise<unknown> = Promise.resolve();

  /** `onRelease` ends all that stands on a device before that is given back. */
  constructor(request: () => Promise<FoundDevice>, onRelease: () => void) {
    this.request = request;
    this.onRelease = onRelease;
  }

  /** Why results of the device that is held cannot be trusted. */
  get trouble(): DeviceError | undefined {
    return this.held?.trouble;
  }

  /** The next loss of a device. */
  nextLoss(): Promise<Failure> {
    return new Promise((resolve) => this.lossListeners.push(resolve));
  }

  /** The device that is held, or else a fresh one. */
  async acquire(): Promise<HeldDevice> {
    if (this.held && !this.held.trouble) return this.held;
    this.release();
    const { device, facts } = await this.request();
    const gpu = new Gpu(device);
    const lost = device.lost.then((info) => {
      held.trouble ??= lostError(info);
      // Not where we gave it back.
      if (this.held === held) for (const tell of this.lossListeners.splice(0)) tell(failure(held.trouble));
    });
    const held: HeldDevice = { gpu, kernels: new Kernels(gpu), facts, lost, trouble: undefined };
    device.addEventListener("uncapturederror", ({ error }) => {
      held.trouble ??= faultError(error);
    });
    this.held = held;
    return held;
  }

  /** Does the work once all that was asked for before is done. It fails where the device does meanwhile. */
  inTurn<T>(work: () => Promise<T>): Promise<Result<T>> {
    const answer = this.turn.then(async (): Promise<Result<T>> => {
      try {
        const value = await work();
        if (this.trouble) throw this.trouble;
        return success(value);
      } catch (thrown) {
        return failure(await this.reasonOf(thrown));
      }
    });
    this.turn = answer;
    return answer;
  }

  /** A lost device makes whatever was awaited fail with an error of its own, and says only then that it is lost. */
  private async reasonOf(thrown: unknown): Promise<unknown> {
    const { held } = this;
    if (!held) return thrown;
    const unexpected = failure(thrown).code === "internal";
    if (unexpected && !held.trouble) await Promise.race([held.lost, wait(LOSS_NEWS_MS)]);
    if (!held.trouble) return thrown;
    // The run's buffers are gone, or hold nobody knows what.
    this.release();
    return held.trouble;
  }

  /** Whoever goes on begins with a fresh device. */
  private release(): void {
    this.onRelease();
    const { held } = this;
    this.held = undefined;
    held?.gpu.device.destroy();
  }
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
