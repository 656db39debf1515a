/**
 * npm run test:mutants: breaks the shaders, one small break at a time, and asks whether any kernel case notices.
 * `--only linear,lora` takes these files, `--seed 2` other mutants, `--each 4` so many of each pass, `--all` every mutant, `--verbose` tells each fate.
 */
import { parseArgs } from "node:util";
import { shaderText } from "../../src/gpu/shaders.ts";
import { accepted } from "./accepted.ts";
import { choose } from "./choose.ts";
import { Judge } from "./judge.ts";
import { type Mutant, mutantsOf } from "./mutate.ts";
import { type Fate, type Judged, report } from "./report.ts";
import { shadersFor, type Witness, Witnesses } from "./witnesses.ts";

// A case that works so much longer than it did will never end.
const PATIENCE_MS = 20_000;
const PATIENCE_FACTOR = 5;

const { values: options } = parseArgs({
  options: {
    only: { type: "string" },
    seed: { type: "string", default: "1" },
    each: { type: "string", default: "8" },
    all: { type: "boolean", default: false },
    verbose: { type: "boolean", default: false },
  },
});

function filesWanted(): string[] {
  const known = [...shaderText.keys()].sort();
  const wanted = options.only?.split(",") ?? known;
  const unknown = wanted.find((file) => !known.includes(file));
  if (unknown) throw new Error(`There is no shaders/${unknown}.wgsl. Known: ${known.join(", ")}.`);
  return wanted;
}

/** Every case as the shaders are: what it makes, how long it takes, and that it passes at all. */
async function baseline(judge: Judge, files: readonly string[]): Promise<Witness[]> {
  const shaders = shadersFor(files);
  const witnesses: Witness[] = [];
  for (const test of judge.cases) {
    if (!shaders.has(test.shader)) continue;
    const verdict = await judge.run(test, 10 * 60_000);
    if (verdict.kind !== "passed") {
      const why = "message" in verdict ? verdict.message : verdict.kind;
      throw new Error(`${test.shader}, "${test.name}" fails before anything is broken: ${why}`);
    }
    witnesses.push({
      ...test,
      pipelines: verdict.pipelines,
      elapsedMs: verdict.elapsedMs,
      workedMs: judge.workedMs,
    });
  }
  return witnesses;
}

async function fateOf(judge: Judge, witnesses: Witnesses, mutant: Mutant): Promise<[Fate, string]> {
  const concerned = witnesses.of(mutant);
  const { file, text } = mutant;
  for (const trial of concerned) {
    const { shader, index, name, workedMs } = trial.witness;
    const replacement = { file, text, original: shaderText.get(file)!, entry: trial.entry };
    const limit = PATIENCE_MS + PATIENCE_FACTOR * workedMs;
    const verdict = await judge.run({ shader, index, replacement }, limit);
    const noticed = verdict.kind !== "passed";
    witnesses.record(mutant, trial, noticed, "elapsedMs" in verdict ? verdict.elapsedMs : 0);
    switch (verdict.kind) {
      case "passed":
        continue;
      case "refused":
        return ["refused", verdict.message];
      case "hung":
        return ["hung", name];
      case "crashed":
        return ["dead", `${name}: the process ended`];
      case "failed":
        return ["dead", `${name}: ${verdict.message}`];
      default:
        verdict satisfies never;
    }
  }
  return ["live", `${concerned.length} trials`];
}

async function main(): Promise<void> {
  const start = performance.now();
  const minutes = () => ((performance.now() - start) / 60_000).toFixed(1);
  const files = filesWanted();
  const possible = files.flatMap((file) => mutantsOf(file, shaderText.get(file)!));
  const each = Number(options.each);
  const counts = options.all
    ? { entry: Number.POSITIVE_INFINITY, part: Number.POSITIVE_INFINITY }
    : { entry: each, part: Math.ceil((3 * each) / 8) };
  const chosen = files.flatMap((file) => {
    const ofFile = possible.filter((mutant) => mutant.file === file);
    return choose(ofFile, shaderText.get(file)!, counts, Number(options.seed));
  });
  const judge = new Judge();
  const judged: Judged[] = [];
  try {
    await judge.start();
    console.log(`${chosen.length} mutants of ${possible.length}, on ${judge.device}`);
    const witnesses = new Witnesses(await baseline(judge, files), shaderText);
    console.log(`The cases pass before anything is broken (${minutes()} min).`);
    for (const mutant of chosen) {
      const before = performance.now();
      const [fate, why] = await fateOf(judge, witnesses, mutant);
      judged.push({ mutant, fate });
      const told = options.verbose || fate === "live";
      if (told) {
        const seconds = ((performance.now() - before) / 1000).toFixed(1);
        const where = `${mutant.file}:${mutant.line} ${mutant.fn} ${mutant.kind}`;
        console.log(
          `${fate} ${where}: ${mutant.before} → ${mutant.after} [${why.split("\n")[0]}; ${seconds} s]`,
        );
      }
      if (judged.length % 50 === 0) console.log(`${judged.length} of ${chosen.length}, ${minutes()} min`);
    }
  } finally {
    judge.stop();
  }
  const { table, live, complaints } = report(judged, possible, accepted);
  console.log(`\n${table}\n`);
  if (live) console.log(`Living:\n${live}\n`);
  console.log(`${minutes()} min, seed ${options.seed}`);
  for (const complaint of complaints) console.error(complaint);
  process.exitCode = complaints.length > 0 ? 1 : 0;
}

await main();
