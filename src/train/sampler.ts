/** Answers the same prompts again and again while the model trains, with one generator that is made once. */
import type { AdaptedModel } from "./adaptedModel.ts";
import { checkPrompt, type GenerationSettings, Generator } from "./generator.ts";
import type { OpenedModel } from "./openModel.ts";
import type { Sample } from "./reports.ts";
import type { SampleSettings } from "./samples.ts";
import { GREEDY } from "./sampling.ts";

/** Answers that are written side by side. */
const LANES = 8;

export class Sampler {
  private readonly settings: SampleSettings;
  private readonly opened: OpenedModel;
  /** Tokens of each prompt. */
  private readonly ids: readonly Uint32Array[];
  private readonly generator: Generator;

  /** Nothing is allocated until `prepare`. Throws DataError where a prompt leaves no room for an answer. */
  constructor(
    adapted: AdaptedModel,
    opened: OpenedModel,
    settings: SampleSettings,
    ids: readonly Uint32Array[],
  ) {
    this.settings = settings;
    this.opened = opened;
    this.ids = ids;
    const { maxPositions } = opened.model.config;
    for (const [i, prompt] of ids.entries()) checkPrompt(prompt, i, maxPositions);
    const longest = Math.max(...ids.map(({ length }) => length));
    this.generator = new Generator(adapted, {
      lanes: Math.min(LANES, ids.length),
      context: Math.min(maxPositions, longest + settings.max_new_tokens),
    });
  }

  bytes(): ReturnType<Generator["bytes"]> {
    return this.generator.bytes();
  }

  prepare(): Promise<void> {
    return this.generator.prepare();
  }

  /** The answers of the model as it is now; undefined where `isStopped`, asked between tokens, says so. */
  async sample(isStopped: () => boolean): Promise<Sample[] | undefined> {
    const { opened, settings } = this;
    const { temperature, top_k, top_p, repetition_penalty, max_new_tokens, seed } = settings;
    const drawing: GenerationSettings = {
      do_sample: true,
      temperature: temperature ?? opened.sampling.temperature,
      top_k: top_k ?? opened.sampling.top_k,
      top_p: top_p ?? opened.sampling.top_p,
      repetition_penalty: repetition_penalty ?? opened.sampling.repetition_penalty,
      ...{ seed, max_new_tokens, stopIds: opened.stopIds },
    };
    const { repetition_penalty: penalty } = drawing;
    const greedy = await this.texts({ ...drawing, ...GREEDY, repetition_penalty: penalty }, isStopped);
    const sampled = drawing.temperature > 0 ? await this.texts(drawing, isStopped) : undefined;
    if (isStopped()) return undefined;
    return settings.prompts.map((prompt, i) => ({
      prompt,
      greedy: greedy[i]!,
      sampled: sampled?.[i] ?? null,
    }));
  }

  destroy(): void {
    this.generator.destroy();
  }

  private async texts(settings: GenerationSettings, isStopped: () => boolean): Promise<string[]> {
    const answers = await this.generator.generate(this.ids, settings, () => {}, isStopped);
    return answers.map(({ ids }) => this.opened.tokenizer.decode(ids));
  }
}
