/** Which cases could notice a mutant, and in what order they are asked: those that notice much in little time first. */
import { blankComments, entriesReaching } from "./functions.ts";
import type { CaseName } from "./messages.ts";
import type { Mutant } from "./mutate.ts";

export interface Witness extends CaseName {
  /** Keys of the pipelines that it makes: "linear.forward_plain:f16:SIDE=8". */
  readonly pipelines: readonly string[];
  readonly elapsedMs: number;
}

// What every kernel is joined with is judged by the quick cases of all.
const COMMON_MS = 2500;

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
    if (mutant.file.includes("/")) return undefined;
    let reaching = this.reaching.get(mutant.file);
    if (!reaching) {
      reaching = entriesReaching(blankComments(this.shaders.get(mutant.file)!));
      this.reaching.set(mutant.file, reaching);
    }
    return reaching.get(mutant.fn)!;
  }

  of(mutant: Mutant): Witness[] {
    const entries = this.entries(mutant);
    const [folder, part] = mutant.file.split("/");
    const concerned = this.all.filter((witness) => {
      if (entries) {
        if (witness.shader !== mutant.file) return false;
        return witness.pipelines.some((key) => {
          const [file, entry] = key.split(":")[0]!.split(".");
          return file === mutant.file && entries.has(entry!);
        });
      }
      if (folder === "weights") return witness.pipelines.some((key) => key.split(":")[1] === part);
      return witness.elapsedMs <= COMMON_MS;
    });
    const promise = new Map(concerned.map((witness) => [witness, this.promise(mutant, witness)]));
    return concerned.sort((a, b) => promise.get(b)! - promise.get(a)!);
  }

  /** Remembers how a case took a mutant, for the order in which the next ones are tried. */
  record(mutant: Mutant, witness: Witness, noticed: boolean, elapsedMs: number): void {
    for (const key of this.keys(mutant, witness)) {
      const record = this.records.get(key) ?? { runs: 0, noticed: 0, elapsedMs: 0 };
      record.runs++;
      record.noticed += noticed ? 1 : 0;
      record.elapsedMs += elapsedMs;
      this.records.set(key, record);
    }
  }

  private keys(mutant: Mutant, { shader, index }: Witness): [string, string] {
    return [`${mutant.file} ${shader} ${index}`, `${mutant.file}.${mutant.fn} ${shader} ${index}`];
  }

  /** How often it has noticed such mutants, by the time it takes. The same function counts most. */
  private promise(mutant: Mutant, witness: Witness): number {
    const [file, fn] = this.keys(mutant, witness).map((key) => this.records.get(key));
    const noticed = 1 + (file?.noticed ?? 0) + 4 * (fn?.noticed ?? 0);
    const runs = 2 + (file?.runs ?? 0) + 4 * (fn?.runs ?? 0);
    // Until it has met a mutant: its time with kernels compiled already, and some for those to compile.
    const ms = file ? file.elapsedMs / file.runs : witness.elapsedMs + 50 * witness.pipelines.length;
    return noticed / runs / (ms + 5);
  }
}
