/**
 * Reads what the host must know from a kernel's own text, so that names and layouts are stated once, in WGSL:
 * which bindings an entry point reaches, with what access, and how its `Params` are laid out.
 */
import { GraftError } from "../base/errors.ts";

export interface Binding {
  readonly name: string;
  readonly index: number;
  readonly kind: "uniform" | "read" | "write";
}

export interface ParamField {
  readonly name: string;
  readonly type: "u32" | "i32" | "f32";
}

export interface ShaderInterface {
  /** Fields of `struct Params`, in order; all are four bytes wide. */
  readonly params: readonly ParamField[];
  /** Bindings that each entry point reaches, by its name. */
  readonly entries: ReadonlyMap<string, readonly Binding[]>;
}

/** Names, but not members: `id.y` does not reach a binding `y`. */
const identifiers = /(?<![.\w])[A-Za-z_]\w*/g;

export function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, " ").replace(/\/\/[^\n]*/g, "");
}

function readBindings(text: string): Map<string, Binding> {
  const found = new Map<string, Binding>();
  const declaration =
    /@group\(0\)\s*@binding\((\d+)\)\s*var<\s*(uniform|storage)\s*(?:,\s*(read_write|read))?\s*>\s*(\w+)/g;
  for (const [, index, space, access, name] of text.matchAll(declaration)) {
    const kind = space === "uniform" ? "uniform" : access === "read_write" ? "write" : "read";
    found.set(name!, { name: name!, index: Number(index), kind });
  }
  return found;
}

function readParams(text: string): ParamField[] {
  const body = /struct\s+Params\s*\{([^}]*)\}/.exec(text)?.[1];
  if (body === undefined) return [];
  return body
    .split(",")
    .map((field) => field.trim())
    .filter((field) => field !== "")
    .map((field) => {
      const match = /^(\w+)\s*:\s*(u32|i32|f32)$/.exec(field);
      if (!match) throw new GraftError("wgsl-params", `Params field "${field}" is not a u32, i32 or f32.`);
      return { name: match[1]!, type: match[2] as ParamField["type"] };
    });
}

interface WgslFunction {
  readonly entry: boolean;
  readonly words: Set<string>;
}

function readFunctions(text: string): Map<string, WgslFunction> {
  const functions = new Map<string, WgslFunction>();
  const head = /((?:@\w+(?:\([^)]*\))?\s*)*)\bfn\s+(\w+)\s*\(/g;
  for (const match of text.matchAll(head)) {
    const open = text.indexOf("{", match.index + match[0].length);
    let depth = 1;
    let end = open + 1;
    for (; depth > 0 && end < text.length; end++) {
      if (text[end] === "{") depth++;
      else if (text[end] === "}") depth--;
    }
    const body = text.slice(open, end);
    functions.set(match[2]!, {
      entry: match[1]!.includes("@compute"),
      words: new Set(body.match(identifiers)),
    });
  }
  return functions;
}

/** Bindings reached from each entry point, through the functions that it calls. */
export function readShader(source: string): ShaderInterface {
  const text = withoutComments(source);
  const bindings = readBindings(text);
  const functions = readFunctions(text);
  const entries = new Map<string, readonly Binding[]>();
  for (const [name, fn] of functions) {
    if (!fn.entry) continue;
    const reached = new Set<string>([name]);
    const used = new Map<string, Binding>();
    for (const at of reached) {
      for (const word of functions.get(at)!.words) {
        if (functions.has(word)) reached.add(word);
        const binding = bindings.get(word);
        if (binding) used.set(word, binding);
      }
    }
    entries.set(
      name,
      [...used.values()].sort((a, b) => a.index - b.index),
    );
  }
  return { params: readParams(text), entries };
}

/** Lays `values` out as the shader's `Params`. Every field must be given, and no other. */
export function packParams(
  fields: readonly ParamField[],
  values: Readonly<Record<string, number>>,
  where: string,
): ArrayBuffer {
  const bytes = new ArrayBuffer(Math.max(16, Math.ceil((fields.length * 4) / 16) * 16));
  const view = new DataView(bytes);
  const known = new Set<string>();
  fields.forEach(({ name, type }, i) => {
    known.add(name);
    const value = values[name];
    if (value === undefined) throw new GraftError("wgsl-params", `${where}: Params.${name} was not given.`);
    if (type === "f32") view.setFloat32(4 * i, value, true);
    else if (type === "u32") view.setUint32(4 * i, value, true);
    else view.setInt32(4 * i, value, true);
  });
  for (const name of Object.keys(values)) {
    if (!known.has(name)) throw new GraftError("wgsl-params", `${where}: Params has no field "${name}".`);
  }
  return bytes;
}
