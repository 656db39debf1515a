import type { ConfigError } from "../base/errors.ts";
import type { LoraConfig } from "./config.ts";
import { endingMatcher } from "./endings.ts";
import { compilePythonPattern, compilePythonPatterns } from "./pythonPattern.ts";

/** What selection needs beside the config. */
export interface SelectionContext {
  /** `model_type` of the base model, for PEFT's default targets. */
  readonly modelType: string;
  /**
   * A `run` starts an adapter: what is listed must exist and ranks are cut to the matrix. An `adapter` exists
   * already: PEFT opens it, so what matches nothing is a warning, and it is never changed.
   */
  readonly origin: "run" | "adapter";
  /** Where the config stood, for errors. */
  readonly path: string;
  /** Given where one would see what the rest of the config comes to: faults are collected here, not thrown. */
  readonly faults?: ConfigError[];
}

/** Throws the fault, or collects it: then the caller leaves out what it concerns. */
export function refuse({ faults }: Pick<SelectionContext, "faults">, fault: ConfigError): void {
  if (!faults) throw fault;
  faults.push(fault);
}

/** How PEFT reads `target_modules` and `exclude_modules`: a list of endings, or a pattern for the whole name. */
export function nameMatcher(entries: string | readonly string[], path: string): (name: string) => boolean {
  if (typeof entries === "string") {
    const pattern = compilePythonPattern(entries, path);
    return (name) => pattern.fullMatch(name);
  }
  return endingMatcher(entries);
}

/**
 * The value of the first key of a rank_pattern or alpha_pattern that matches `(.*\.)?(key)$`.
 * `used` collects the keys that match any name looked up, whether or not an earlier key won.
 */
export function patternLookup(
  patterns: Readonly<Record<string, number>>,
  path: string,
): { firstValue(name: string): number | undefined; used: Set<string> } {
  const special = Object.keys(patterns).filter((key) => !isPlain(key) && exactName(key) === undefined);
  const compiled = compilePythonPatterns(
    special.map((key) => `(.*\\.)?(${key})$`),
    path,
  );
  const patternOf = new Map(special.map((key, i) => [key, compiled[i]!]));
  const used = new Set<string>();
  const matchers = Object.entries(patterns).map(([key, value]) => {
    const pattern = patternOf.get(key);
    const exact = exactName(key);
    const matches = (name: string) =>
      pattern ? pattern.match(name) : exact !== undefined ? name === exact : endsInPlainKey(name, key);
    return { key, value, matches };
  });
  return {
    used,
    firstValue(name) {
      let first: number | undefined;
      for (const { key, value, matches } of matchers) {
        if (!matches(name)) continue;
        first ??= value;
        used.add(key);
      }
      return first;
    },
  };
}

/** A key that is only a name: its dots are still Python's "any character". */
function isPlain(key: string): boolean {
  return /^[A-Za-z0-9_.]+$/.test(key);
}

/** The one name that a key such as `^model\.norm` matches, as our own exports spell what they name one by one. */
function exactName(key: string): string | undefined {
  return /^\^(?:[A-Za-z0-9_]|\\\.)+$/.test(key) ? key.slice(1).replaceAll("\\.", ".") : undefined;
}

function endsInPlainKey(name: string, key: string): boolean {
  const start = name.length - key.length;
  if (start < 0 || (start > 0 && name[start - 1] !== ".")) return false;
  for (let i = 0; i < key.length; i++) {
    if (key[i] !== "." && key[i] !== name[start + i]) return false;
  }
  return true;
}

/** The number of the layer that a module or a parameter belongs to: the first one that follows the name of a list. */
export function layerOf(name: string): number | undefined {
  return toIndex(/^.*?\.[^.]*\.(\d+)\./.exec(name)?.[1]);
}

/** The number of the layer that a module belongs to, as PEFT finds it: the first number after a list's name. */
export function layerIndexOf(config: LoraConfig, path: string): (name: string) => number | undefined {
  const { layers_pattern } = config;
  if (layers_pattern === null || layers_pattern.length === 0) {
    return layerOf;
  }
  const lists = typeof layers_pattern === "string" ? [layers_pattern] : layers_pattern;
  const patterns = compilePythonPatterns(
    lists.map((list) => `(?:^|.*?\\.)${list}\\.(?P<idx>\\d+)\\.`),
    `${path}.layers_pattern`,
  );
  return (name) => {
    for (const pattern of patterns) {
      const index = toIndex(pattern.matchGroup(name, "idx"));
      if (index !== undefined) return index;
    }
    return undefined;
  };
}

function toIndex(digits: string | undefined): number | undefined {
  return digits === undefined ? undefined : Number(digits);
}

/** The layers of layers_to_transform, or undefined where all layers are meant. */
export function chosenLayers(config: LoraConfig): ReadonlySet<number> | undefined {
  const { layers_to_transform: layers } = config;
  if (layers === null) return undefined;
  if (typeof layers === "number") return new Set([layers]);
  return layers.length > 0 ? new Set(layers) : undefined;
}
