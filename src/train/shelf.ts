/** Adapters that were opened on one base, to be looked at, asked alone and asked together. */
import { ConfigError, failure, success } from "../base/errors.ts";
import { chatTemplate, type FoundTemplate, findChatTemplate } from "../data/chat.ts";
import type { StartTemplatePort } from "../data/templateWorker.ts";
import { type ParameterChange, parameterChanges } from "../lora/changes.ts";
import { readAdapter } from "../lora/readAdapter.ts";
import type { Adapter, AdapterPart } from "../lora/strength.ts";
import type { AdaptedModel } from "./adaptedModel.ts";
import { type AdapterFacts, adapterFacts, adapterFit } from "./adapterFacts.ts";
import { type AdapterSource, adapterFolder } from "./adapterFolder.ts";
import { type AnswerOptions, answersOf } from "./answers.ts";
import { fitAdapter } from "./openAdapter.ts";
import { type OpenedBase, stackedModel } from "./openBase.ts";
import { plainAdapter, type StartOptions } from "./plainAdapter.ts";
import type { Prompt } from "./prompts.ts";

export interface OpenedAdapterFacts extends AdapterFacts {
  /** How it is named from here on. */
  readonly id: number;
}

/** One of the adapters that are asked together: their changes of the base add up. */
export interface AdapterUse {
  /** Of an adapter that was opened; "run" is the open run's own, as it is now. */
  readonly id: number | "run";
  /** From 0, the base model, over 1, as it was trained, to 2. */
  readonly strength: number;
  /** Numbers of layers that it leaves as they are. */
  readonly layersOff?: readonly number[] | undefined;
  /** So it does with whatever lies in no layer: embeddings, the last norm, the head. */
  readonly isRestOff?: boolean | undefined;
}

export interface ShelfAnswerOptions extends AnswerOptions {
  readonly onLoad?: ((loadedBytes: number, totalBytes: number) => void) | undefined;
}

interface ShelvedAdapter {
  /** Throws where it does not fit the base. */
  readonly fitted: () => Adapter;
  /** Its folder's own, where it has one. */
  readonly template: FoundTemplate | undefined;
}

export class AdapterShelf<Base extends OpenedBase = OpenedBase> {
  readonly base: Base;
  private readonly startTemplates: StartTemplatePort;
  private readonly adapters = new Map<number, ShelvedAdapter>();
  private opened = 0;

  constructor(base: Base, startTemplates: StartTemplatePort) {
    this.base = base;
    this.startTemplates = startTemplates;
  }

  /**
   * Reads an adapter and looks whether it fits the base. Throws where it is none or asks for what is not there, and
   * what the signal says where it is stopped.
   */
  async open(source: AdapterSource, options: StartOptions = {}): Promise<OpenedAdapterFacts> {
    const { model } = this.base.opened;
    const folder = await adapterFolder(source, model.config);
    const files = await readAdapter(folder);
    const template = await findChatTemplate(folder);
    const id = this.opened++;
    try {
      const adapter = await fitAdapter(files, model);
      const plain = (await plainAdapter({ files, adapter }, model, options)).adapter;
      this.adapters.set(id, { fitted: () => plain, template });
      return { id, ...adapterFacts(files, success(adapterFit(adapter))) };
    } catch (thrown) {
      options.signal?.throwIfAborted();
      const fitted = () => {
        throw thrown;
      };
      this.adapters.set(id, { fitted, template });
      return { id, ...adapterFacts(files, failure(thrown)) };
    }
  }

  close(id: number): void {
    this.adapters.delete(id);
  }

  /** How far an adapter takes each parameter that it changes. Reads these of the base. */
  changes(id: number): Promise<ParameterChange[]> {
    const { model } = this.base.opened;
    return parameterChanges(this.find(id).fitted(), (...at) => model.tensor(...at));
  }

  /** The base with these adapters on; whoever asks for it destroys it. `ofRun` gives the adapter of the open run. */
  async model(uses: readonly AdapterUse[], ofRun?: () => Promise<Adapter>): Promise<AdaptedModel> {
    const parts: AdapterPart[] = [];
    for (const { id, strength, layersOff = [], isRestOff } of uses) {
      const adapter = id === "run" ? await ofRun?.() : this.find(id).fitted();
      if (!adapter) throw new ConfigError("nothing-open", "No run is open that trains on this base model.");
      parts.push({ adapter, strength, layersOff: this.checkedLayers(layersOff), isRestOff });
    }
    return stackedModel(this.base, parts);
  }

  /** What the base answers with these adapters on. Conversations are written as the first of them asks that has a template. */
  async answers(
    uses: readonly AdapterUse[],
    prompts: readonly Prompt[],
    { onLoad, ...options }: ShelfAnswerOptions = {},
    ofRun?: () => Promise<Adapter>,
  ): Promise<string[]> {
    const { opened, gpu } = this.base;
    const own = uses.map(({ id }) => (id === "run" ? undefined : this.find(id).template));
    const template = chatTemplate(
      own.find((found) => found !== undefined) ?? opened.template,
      opened.tokenizer,
      this.startTemplates,
    );
    const model = await this.model(uses, ofRun);
    const undo = gpu.checkpoint();
    try {
      await model.load(onLoad);
      return await answersOf(model, opened, template, prompts, options);
    } catch (thrown) {
      undo();
      throw thrown;
    } finally {
      template.close();
      model.destroy();
    }
  }

  private find(id: number): ShelvedAdapter {
    const found = this.adapters.get(id);
    if (found) return found;
    throw new ConfigError("no-adapter", `No adapter is open under the number ${id}.`, "Open it first.");
  }

  private checkedLayers(layers: readonly number[]): ReadonlySet<number> {
    const count = this.base.opened.model.config.layers;
    const wrong = layers.find((layer) => !Number.isInteger(layer) || layer < 0 || layer >= count);
    if (wrong === undefined) return new Set(layers);
    throw new ConfigError(
      "layers-off",
      `Layer ${wrong} is to be off; the model has the layers 0 to ${count - 1}.`,
      "Name layers of the model only.",
    );
  }
}
