/** What the command line may say. */
import { parseArgs } from "node:util";
import { ConfigError } from "../src/base/errors.ts";
import { allTiles, type Tile } from "./products.ts";

export const contenders = ["graft", "jax", "tfjs"] as const;
export type ContenderName = (typeof contenders)[number];

const parts = ["steps", "products", "profile"] as const;
export type Part = (typeof parts)[number];

export interface BenchOptions {
  readonly only: readonly ContenderName[];
  readonly parts: readonly Part[];
  /** That a contender does in one turn, and turns that each has. */
  readonly steps: number;
  readonly rounds: number;
  readonly tile: Tile | undefined;
  /** The machine's own GPU instead of the software driver. */
  readonly hardware: boolean;
}

export const usage = `npm run bench -- [--only ${contenders.join(",")}] [--parts ${parts.join(",")}] [--steps N] [--rounds N]
                 [--tile ${allTiles.join("|")}] [--hardware]
  --only      contenders to measure; Graft is the first
  --parts     steps: the training step; products: matrix products alone; profile: Graft's step by kernel
  --steps     steps that a contender does in one turn (1)
  --rounds    turns that each has, one after the other (5)
  --tile      a row of the tile table that Graft takes for every product of its step
  --hardware  the machine's GPU; without it the software driver, which is the same everywhere`;

function oneOf<T extends string>(known: readonly T[], given: string, option: string): T {
  const found = known.find((name) => name === given);
  if (found === undefined) throw refusal(`--${option} ${given} is none of ${known.join(", ")}.`);
  return found;
}

function count(given: string, option: string): number {
  const number = Number(given);
  if (Number.isInteger(number) && number > 0) return number;
  throw refusal(`--${option} ${given} is no whole number above 0.`);
}

function refusal(found: string): ConfigError {
  return new ConfigError("arguments", found, `Usage:\n${usage}`);
}

function parse(args: readonly string[]) {
  const options = {
    only: { type: "string", default: contenders.join(",") },
    parts: { type: "string", default: parts.join(",") },
    steps: { type: "string", default: "1" },
    rounds: { type: "string", default: "5" },
    tile: { type: "string" },
    hardware: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  } as const;
  try {
    return parseArgs({ args: [...args], options }).values;
  } catch (thrown) {
    throw refusal(`${(thrown as Error).message}.`);
  }
}

/** Undefined where only the usage was asked for. */
export function readOptions(args: readonly string[]): BenchOptions | undefined {
  const values = parse(args);
  if (values.help) return undefined;
  return {
    only: values.only.split(",").map((name) => oneOf(contenders, name, "only")),
    parts: values.parts.split(",").map((name) => oneOf(parts, name, "parts")),
    steps: count(values.steps, "steps"),
    rounds: count(values.rounds, "rounds"),
    tile: values.tile === undefined ? undefined : oneOf(allTiles, values.tile, "tile"),
    hardware: values.hardware,
  };
}
