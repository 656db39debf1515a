/** What stands on the device: the open run, adapters beside it, and the base models under both. */
import { ConfigError } from "../base/errors.ts";
import type { StartTemplatePort } from "../data/templateWorker.ts";
import type { AnswerOptions } from "../train/answers.ts";
import { type OpenedBase, openBase } from "../train/openBase.ts";
import type { RowReader } from "../train/rowTokens.ts";
import { Session, type SessionSources } from "../train/session.ts";
import { AdapterShelf } from "../train/shelf.ts";
import type { ExportFacts } from "../train/trainedFiles.ts";
import type { AdapterUse, BaseFacts, Folder, Progress, Prompt } from "./api.ts";
import type { HeldDevice, SharedDevice } from "./sharedDevice.ts";
import { filesKey, folderOf } from "./sources.ts";

/** What a run and adapters from files share where they stand on the same files. */
interface SharedBase extends OpenedBase {
  readonly filesKey: string;
}

interface OpenRun {
  readonly session: Session;
  readonly base: SharedBase;
  readonly facts: ExportFacts;
  prepared: boolean;
}

/** What a run is opened with beside its model. */
interface RunSources extends Omit<SessionSources, "model" | "base" | "startTemplates"> {
  readonly dataName: string;
  readonly encode: NonNullable<SessionSources["encode"]>;
}

/** Asks a model. */
type Ask = (prompts: readonly Prompt[], options: AnswerOptions) => Promise<readonly string[]>;

/** Hears how far loading has come, and may stop it. */
interface Loading {
  readonly onProgress: (progress: Progress) => void;
  readonly isStopped: () => boolean;
}

export class Opened {
  /** How the model that was opened last reads rows. */
  reader: RowReader | undefined;
  private readonly device: SharedDevice;
  private readonly startTemplates: StartTemplatePort;
  private current: OpenRun | undefined;
  private beside: AdapterShelf<SharedBase> | undefined;
  private onProgress: ((progress: Progress) => void) | undefined;

  constructor(device: SharedDevice, startTemplates: StartTemplatePort) {
    this.device = device;
    this.startTemplates = startTemplates;
  }

  run(): OpenRun {
    if (this.device.trouble) throw this.device.trouble;
    if (this.current) return this.current;
    throw new ConfigError("nothing-open", "No run is open.", "Open a model and data first.");
  }

  /** The run, once it has taken a step. */
  trainedRun(): OpenRun {
    const run = this.run();
    if (run.session.reports.length > 0) return run;
    throw new ConfigError("not-trained", "No step was taken, so there is no adapter yet.", "Train first.");
  }

  /** Adapters from files, and the base that they were opened on. */
  shelf(): AdapterShelf<SharedBase> {
    if (this.beside) return this.beside;
    throw new ConfigError("nothing-open", "No base model is open for adapters.", "Open one first.");
  }

  /** The base that is open for adapters, or else the run's. */
  base(): SharedBase {
    return this.beside?.base ?? this.run().base;
  }

  /** Plans a run; the one before it was ended. */
  async openRun(model: Folder, { dataName, encode, ...sources }: RunSources): Promise<Session> {
    const held = await this.device.acquire();
    const base = await this.baseOf(held, model);
    const session = await Session.open(
      held.gpu,
      held.kernels,
      {
        ...{ ...sources, model: folderOf(model), base, startTemplates: this.startTemplates },
        encode: (rows, reader) => {
          this.reader = reader;
          return encode(rows, reader);
        },
      },
      { onProgress: (stage, done, total) => this.onProgress?.({ stage, done, total }) },
    );
    const facts = { baseModel: model.label, dataset: dataName, device: held.facts.description };
    this.current = { session, base, facts, prepared: false };
    return session;
  }

  /** Loads and compiles the open run. False where it was stopped before it took anything. */
  async prepare({ onProgress, isStopped }: Loading): Promise<boolean> {
    const run = this.run();
    this.onProgress = onProgress;
    if (run.prepared) return true;
    try {
      if (!(await run.session.prepare(isStopped))) return false;
      // Only now has the device seen every command, and said whether its memory was enough.
      await run.base.gpu.device.queue.onSubmittedWorkDone();
      run.prepared = true;
      return true;
    } catch (thrown) {
      this.endRun();
      throw thrown;
    }
  }

  /** Who answers: the run's model as it is, or the base with these adapters on. Undefined where that was stopped. */
  async asker(adapters: readonly AdapterUse[] | undefined, loading: Loading): Promise<Ask | undefined> {
    if (adapters) return this.together(adapters, loading);
    const { session } = this.run();
    if (!(await this.prepare(loading))) return undefined;
    return (prompts, options) => session.answers(prompts, options);
  }

  /** Opens a base for adapters in place of the one before, whose adapters are closed. */
  async openShelf(model: Folder): Promise<BaseFacts> {
    const base = await this.baseOf(await this.device.acquire(), model);
    this.endShelf(base);
    this.beside = new AdapterShelf(base, this.startTemplates);
    const { model: opened } = base.opened;
    const { modelType, layers } = opened.config;
    const parameters = opened.parameterCount();
    return { label: model.label, modelType, parameters, layers, ofRun: base === this.current?.base };
  }

  endRun(): void {
    this.reader?.options.template.close();
    const base = this.current?.base;
    this.current?.session.destroy();
    this.current = undefined;
    this.free(base);
    this.onProgress = undefined;
  }

  /** `next` is the base of the shelf that comes after. */
  endShelf(next?: SharedBase): void {
    const base = this.beside?.base;
    this.beside = undefined;
    if (base !== next) this.free(base);
  }

  private async together(uses: readonly AdapterUse[], loading: Loading): Promise<Ask | undefined> {
    const shelf = this.beside ?? new AdapterShelf(this.run().base, this.startTemplates);
    const wantsRun = shelf.base === this.current?.base && uses.some(({ id }) => id === "run");
    if (wantsRun && !(await this.prepare(loading))) return undefined;
    const session = wantsRun ? this.run().session : undefined;
    const onLoad = (done: number, total: number) => loading.onProgress({ stage: "load", done, total });
    const ofRun = session && (() => session.trained());
    return (prompts, options) => shelf.answers(uses, prompts, { ...options, onLoad }, ofRun);
  }

  /** The base of these files; where it is open already, that. */
  private async baseOf({ gpu, kernels }: HeldDevice, model: Folder): Promise<SharedBase> {
    const key = filesKey(model.files);
    const there = [this.current?.base, this.beside?.base].find((base) => base?.filesKey === key);
    return there ?? { ...(await openBase(gpu, kernels, folderOf(model))), filesKey: key };
  }

  /** Gives a base back that nothing stands on any more. */
  private free(base: SharedBase | undefined): void {
    if (base && base !== this.current?.base && base !== this.beside?.base) base.frozen.destroy();
  }
}
