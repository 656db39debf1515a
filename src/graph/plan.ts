/**
 * Turns nodes into a fixed list of dispatches over a set of reused buffers. Everything is known here before
 * anything is allocated: the plan's byte count is the memory estimate that people see.
 */
import { GraftError } from "../base/errors.ts";
import { blockBytes, type DeviceTraits } from "../gpu/device.ts";
import { copyDispatch } from "./copy.ts";
import type { Graph } from "./graph.ts";
import { withoutUnread } from "./prune.ts";
import {
  bytesPerElement,
  type Dim,
  type Dispatch,
  type Extent,
  maxBytes,
  maxElements,
  type Node,
  type Value,
} from "./value.ts";

export interface Plan {
  readonly dispatches: readonly Dispatch[];
  /** Index into `bufferBytes` of each computed value. */
  readonly bufferOf: ReadonlyMap<Value, number>;
  readonly bufferBytes: readonly number[];
  readonly inputs: readonly Value[];
  readonly extents: readonly Extent[];
  readonly kept: ReadonlyMap<string, Value>;
  readonly bytes: { readonly activations: number; readonly inputs: number; readonly control: number };
}

/** Uniform slots are 256 bytes apart, the largest alignment that WebGPU asks for. */
export const SLOT_BYTES = 256;
export const LIVE_BYTES = 1024;

/** Plans the graph's nodes, or a rewritten list of them. */
export function makePlan(graph: Graph, traits: DeviceTraits, nodes: readonly Node[] = graph.nodes): Plan {
  const kept = new Set(graph.kept.values());
  const needed = withoutUnread(nodes, kept);
  const lastUse = lastUses(needed, kept);
  const dispatches: Dispatch[] = [];
  /** Values joined by in-place updates share storage; each is known by the first of its chain. */
  const origin = new Map<Value, Value>();
  const lifetimes = new Map<Value, { start: number; end: number; bytes: number }>();

  needed.forEach((node, at) => {
    node.outputs.forEach((output, index) => {
      const source = inPlaceSource(node, index);
      const dies =
        source && source.kind === "computed" && lastUse.get(source) === at && occursOnce(node, source);
      if (source && !dies) dispatches.push(copyDispatch(graph, source, output));
      const first = source && dies ? origin.get(source)! : output;
      origin.set(output, first);
      const end = Math.max(at, lastUse.get(output) ?? at);
      const lifetime = lifetimes.get(first);
      if (lifetime) lifetime.end = Math.max(lifetime.end, end);
      else lifetimes.set(first, { start: at, end, bytes: blockBytes(maxBytes(output)) });
    });
    dispatches.push(...node.op.lower(node, traits));
  });

  const { bufferOf: bufferOfOrigin, bufferBytes } = assignBuffers(lifetimes);
  const bufferOf = new Map([...origin].map(([value, first]) => [value, bufferOfOrigin.get(first)!]));
  const inputs = graph.values.filter(
    (value) =>
      value.kind === "input" &&
      dispatches.some((dispatch) => Object.values(dispatch.bindings).includes(value)),
  );
  refuseOversized(graph, [...bufferOf.keys(), ...inputs], traits);
  const sum = (sizes: number[]) => sizes.reduce((total, size) => total + size, 0);
  return {
    dispatches,
    bufferOf,
    bufferBytes,
    inputs,
    extents: graph.extents,
    kept: graph.kept,
    bytes: {
      activations: sum([...bufferBytes]),
      inputs: sum(inputs.map((input) => blockBytes(maxBytes(input)))),
      control: LIVE_BYTES + Math.max(1, dispatches.length) * SLOT_BYTES + tableBytes(dispatches),
    },
  };
}

/** Bytes of the tables that the dispatches carry, each in whole blocks; a table used twice counts once. */
export function tablesOf(dispatches: readonly Dispatch[]): Uint32Array[] {
  const tables = new Set<Uint32Array>();
  for (const { bindings } of dispatches) {
    for (const operand of Object.values(bindings))
      if (operand && "table" in operand) tables.add(operand.table);
  }
  return [...tables];
}

function tableBytes(dispatches: readonly Dispatch[]): number {
  return tablesOf(dispatches).reduce((total, table) => total + blockBytes(table.byteLength), 0);
}

function inPlaceSource(node: Node, output: number): Value | undefined {
  const input = node.inPlace.get(output);
  return input === undefined ? undefined : node.inputs[input];
}

function occursOnce(node: Node, value: Value): boolean {
  return node.inputs.filter((input) => input === value).length === 1;
}

function lastUses(nodes: readonly Node[], kept: ReadonlySet<Value>): Map<Value, number> {
  const last = new Map<Value, number>();
  nodes.forEach((node, at) => {
    for (const input of node.inputs) if (input) last.set(input, at);
  });
  for (const value of kept) last.set(value, nodes.length);
  return last;
}

/**
 * Greedy by size: the largest values first, each into the tightest buffer that is free for its whole life.
 * A buffer is never shared by two values that are alive at the same node, so no dispatch sees one twice.
 */
function assignBuffers(lifetimes: ReadonlyMap<Value, { start: number; end: number; bytes: number }>): {
  bufferOf: Map<Value, number>;
  bufferBytes: number[];
} {
  const bufferBytes: number[] = [];
  const taken: { start: number; end: number }[][] = [];
  const bufferOf = new Map<Value, number>();
  const bySize = [...lifetimes].sort(
    ([a, x], [b, y]) => y.bytes - x.bytes || x.start - y.start || a.id - b.id,
  );
  for (const [value, { start, end, bytes }] of bySize) {
    let buffer = -1;
    for (let i = taken.length - 1; i >= 0 && buffer < 0; i--) {
      if (taken[i]!.every((other) => end < other.start || other.end < start)) buffer = i;
    }
    if (buffer < 0) {
      buffer = bufferBytes.push(bytes) - 1;
      taken.push([]);
    }
    taken[buffer]!.push({ start, end });
    bufferOf.set(value, buffer);
  }
  return { bufferOf, bufferBytes };
}

/** Bytes that the widest value takes per token: what bounds the tokens of a micro-batch on a device. */
export function widestBytesPerToken(graph: Graph): number {
  let widest = 0;
  for (const { shape, dtype, kind } of graph.values) {
    if (kind !== "computed" && kind !== "input") continue;
    if (shape[0] !== graph.tokens) continue;
    widest = Math.max(widest, (maxElements(shape) / graph.tokens.max) * bytesPerElement[dtype]);
  }
  return widest;
}

function refuseOversized(graph: Graph, values: readonly Value[], traits: DeviceTraits): void {
  for (const value of values) {
    if (maxBytes(value) <= traits.maxBinding) continue;
    const fitting = Math.floor(traits.maxBinding / widestBytesPerToken(graph));
    throw new GraftError(
      "activation-too-large",
      `${value.name} would take ${maxBytes(value)} bytes for ${graph.tokens.max} tokens; this device binds ${traits.maxBinding} at most.`,
      `Use micro-batches of at most ${fitting} tokens (a smaller max_length or per_device_train_batch_size).`,
    );
  }
}

/** The size of a dimension for the counts at hand. */
export function sizeOf(live: Uint32Array): (dim: Dim) => number {
  return (dim) => (typeof dim === "number" ? dim : live[dim.index]!);
}
