/** Which cases could notice a mutant, and in what order they are asked: those that notice much in little time first. */
import { blankComments, entriesReaching } from "./functions.ts";
import type { CaseName } from "./messages.ts";
import type { Mutant } from "./mutate.ts";

export interface Witness extends CaseName {
  /** Keys of the pipelines that it makes: "linear.forward_plain:f16:SIDE=8". */
  readonly pipelines: readonly string[];
  readonly elapsedMs: number;
  /** As the judge counts it, kernels compiled. */
  readonly workedMs: number;
}

/** A case with a pass broken of those that reach the mutant: the others keep their compiled kernels. */
export interface Trial {
  readonly witness: Witness;
  /** Absent: all of its passes that reach the mutant are broken. */
  readonly entry?: string;
}

// So many cases are tried with one pass broken at a time, before all passes are broken at once.
const SINGLE = 12;

/** The shaders whose cases judge the parts that kernels are joined with: quick ones, and all that a part offers. */
const judges: Readonly<Record<string, readonly string[]>> = {
  // Launches of two dimensions, and many extents.
  common: ["add", "copy", "crossentropy", "embedding"],
  weights: ["embedding", "linear"],
};

/** "linear/quad" is judged by the cases of linear. */
const folderOf = (file: string): string => file.split("/")[0]!;

/** The shaders whose cases a run over these files needs. */
export function shadersFor(files: readonly string[]): Set<string> {
  return new Set(files.map(folderOf).flatMap((folder) => judges[folder] ?? [folder]));
}

export class Witnesses {
  private readonly all: readonly Witness[];
  private readonly shaders: ReadonlyMap<string, string>;
  private readonly reaching = new Map<string, Map<string, Set<string>>>();
  private readonly records = new Map<string, { runs: number; noticed: number; elapsedMs: number }>();

  constructor(all: readonly Witness[], shaders: ReadonlyMap<string, string>) {
    this.all = all;
    this.shaders = shaders;
  }

  /** Entry points of the mutant's own file that reach it; undefined where the file is a part of others. */
  entries(mutant: Mutant): Set<string> | undefined {
    if (folderOf(mutant.file) in judges) return undefined;
    let reaching = this.reaching.get(mutant.file);
    if (!reaching) {
      reaching = entriesReaching(blankComments(this.shaders.get(mutant.file)!));
      this.reaching.set(mutant.file, reaching);
    }
    return reaching.get(mutant.fn)!;
  }

  of(mutant: Mutant): Trial[] {
    const trials = this.all.flatMap((witness) => this.trials(mutant, witness));
    const promise = new Map(trials.map((trial) => [trial, this.promise(mutant, trial)]));
    trials.sort((a, b) => promise.get(b)! - promise.get(a)!);
    // What the likeliest have not noticed will live: each case once, with all of its passes broken, shall say so.
    const rest = new Set(trials.slice(SINGLE).map(({ witness }) => witness));
    return [...trials.slice(0, SINGLE), ...[...rest].map((witness) => ({ witness }))];
  }

  private trials(mutant: Mutant, witness: Witness): Trial[] {
    const entries = this.entries(mutant);
    const [folder, part] = mutant.file.split("/");
    if (!entries) {
      const joined = folder === "common" || witness.pipelines.some((key) => key.split(":")[1] === part);
      return joined && judges[folder!]!.includes(witness.shader) ? [{ witness }] : [];
    }
    if (witness.shader !== folderOf(mutant.file)) return [];
    const run = new Set(witness.pipelines.map((key) => key.split(":")[0]!));
    return [...entries]
      .filter((entry) => run.has(`${mutant.file}.${entry}`))
      .map((entry) => ({ witness, entry }));
  }

  /** Remembers how a case took a mutant, for the order in which the next ones are tried. */
  record(mutant: Mutant, trial: Trial, noticed: boolean, elapsedMs: number): void {
    for (const key of this.keys(mutant, trial)) {
      const record = this.records.get(key) ?? { runs: 0, noticed: 0, elapsedMs: 0 };
      record.runs++;
      record.noticed += noticed ? 1 : 0;
      record.elapsedMs += elapsedMs;
      this.records.set(key, record);
    }
  }

  private keys(mutant: Mutant, { witness: { shader, index }, entry }: Trial): [string, string] {
    const trial = `${shader} ${index} ${entry}`;
    return [`${mutant.file} ${trial}`, `${mutant.file}.${mutant.fn} ${trial}`];
  }

  /** How often it has noticed such mutants, by the time it takes. The same function counts most. */
  private promise(mutant: Mutant, trial: Trial): number {
    const { witness } = trial;
    const [file, fn] = this.keys(mutant, trial).map((key) => this.records.get(key));
    const noticed = 1 + (file?.noticed ?? 0) + 4 * (fn?.noticed ?? 0);
    const runs = 2 + (file?.runs ?? 0) + 4 * (fn?.runs ?? 0);
    // Until it has met a mutant: its time with kernels compiled already, and some for those to compile.
    const ms = file ? file.elapsedMs / file.runs : witness.elapsedMs + 50 * witness.pipelines.length;
    return noticed / runs / (ms + 5);
  }
}
