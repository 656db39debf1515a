/**
 * @huggingface/jinja's interpreter, mended from outside where it would silently write another text than Jinja does in
 * Transformers. Every node comes through `evaluate`; what needs no mending goes on to the library. What neither knows
 * is refused.
 */
import { Environment, Interpreter, parse } from "@huggingface/jinja";
import {
  equal,
  holdsOddFloat,
  named,
  printed,
  type Side,
  stripped,
  TemplateError,
  toValue,
  type Value,
} from "./python.ts";

/** Longest text, in the middle or at the end, in UTF-16 units; and longest list. */
const MAX_LENGTH = 1_000_000;
/** Blocks within blocks that a template may be in the middle of, a macro's calls of itself above all. */
const MAX_DEPTH = 100;

/** A template that asked for more than it may have. */
export class LimitError extends Error {}

/** What a `{% generation %}` block calls; no name that a template would write. */
export const GENERATION = "__generation__";
/** Stand around what such a block wrote. Unicode keeps them free of characters; a row that has one is refused. */
export const MARKS = /[\ufdd0\ufdd1]/;

/** The library's nodes as far as they are read here, and three of this file's own. */
type Node =
  | { type: "Evaluated"; value: Value }
  | { type: "Written" | "Captured"; body: Node[] }
  | { type: "If"; test: Node; body: Node[]; alternate: Node[] }
  | { type: "For"; iterable: Node; body: Node[]; defaultBlock: Node[] }
  | { type: "Set"; value: Node | null; body: Node[] }
  | { type: "Macro"; name: { value: string }; body: Node[] }
  | { type: "CallStatement"; call: { callee: Node }; body: Node[] }
  | { type: "FilterStatement"; filter: Filter; body: Node[] }
  | { type: "FilterExpression"; operand: Node; filter: Filter }
  | { type: "SelectExpression"; lhs: Node; test: Node }
  | { type: "TestExpression"; operand: Node; negate: boolean; test: { value: string } }
  | { type: "CallExpression"; callee: Node; args: Node[] }
  | { type: "MemberExpression"; object: Node; property: Node; computed: boolean }
  | { type: "BinaryExpression"; operator: { value: string }; left: Node; right: Node }
  | { type: "Identifier"; value: string }
  | { type: "SliceExpression" | "KeywordArgumentExpression" };
type Filter = Extract<Node, { type: "Identifier" | "CallExpression" }>;
type Of<Type extends Node["type"]> = Extract<Node, { type: Type }>;

type Statement = NonNullable<Parameters<Interpreter["evaluate"]>[0]>;

/** What writes by itself, or nothing; the value of every other node in a body is written. */
const STATEMENTS: ReadonlySet<string> = new Set([
  "If",
  "For",
  "Set",
  "Macro",
  "CallStatement",
  "FilterStatement",
  "Comment",
  "Break",
  "Continue",
]);
const STRIPS: ReadonlyMap<string, Side> = new Map([
  ["strip", "both"],
  ["lstrip", "left"],
  ["rstrip", "right"],
]);
const DICT_METHODS: ReadonlySet<string> = new Set(["get", "items", "keys", "values"]);
/** In Python these give generators, which can be gone through but not counted. */
const GENERATORS: ReadonlySet<string> = new Set(["map", "selectattr", "rejectattr"]);
/** The types for which a test holds that the library says no to. */
const TESTS: ReadonlyMap<string, readonly string[]> = new Map([
  ["iterable", ["ObjectValue", "TupleValue", "UndefinedValue"]],
  ["sequence", ["UndefinedValue"]],
  ["number", ["BooleanValue"]],
]);

const UNDEFINED = toValue(undefined);

const evaluated = (value: Value): Node => ({ type: "Evaluated", value });
/** Of a class of the library's: it asks for that where it looks through a macro. */
const bodyOf = (type: "Written" | "Captured", body: Node[]): Node => Object.assign(parse([]), { type, body });

export class MendedInterpreter extends Interpreter {
  private output = "";
  private depth = 0;
  /** Texts that went through `safe`: what is added to them is escaped for HTML, also where no HTML is written. */
  private readonly safe = new WeakSet<Value>();
  private readonly generators = new WeakSet<Value>();

  render({ body }: ReturnType<typeof parse>): string {
    return this.captured(body as unknown as Node[], this.global);
  }

  override evaluate(statement: Statement | undefined, scope: Environment): Value {
    if (!statement) return UNDEFINED;
    const value = this.mended(statement as unknown as Node, scope);
    if (typeof value.value === "string") this.limit("text", value.value.length);
    else if (Array.isArray(value.value)) this.limit("list", value.value.length);
    return value;
  }

  private limit(what: "text" | "list", length: number): void {
    if (length <= MAX_LENGTH) return;
    const unit = what === "text" ? "characters" : "entries";
    throw new LimitError(`it makes a ${what} of more than ${MAX_LENGTH} ${unit}`);
  }

  private value(node: Node, scope: Environment): Value {
    return this.evaluate(node as unknown as Statement, scope);
  }

  /** A node as the library alone evaluates it. Some filters of its give nothing at all for an empty list. */
  private unmended(node: Node, scope: Environment): Value {
    return super.evaluate(node as unknown as Statement, scope) ?? UNDEFINED;
  }

  private mended(node: Node, scope: Environment): Value {
    switch (node.type) {
      case "Evaluated":
        return node.value;
      case "Written":
        return this.write(node.body, new Environment(scope));
      case "Captured":
        return toValue(this.captured(node.body, scope));
      case "If": {
        const holds = this.value(node.test, scope).__bool__().value;
        return this.write(holds ? node.body : node.alternate, scope);
      }
      case "For":
        return this.loop(node, scope);
      case "Set":
        return this.unmended(node.value ? node : { ...node, value: bodyOf("Captured", node.body) }, scope);
      case "Macro":
        return this.macro(node, scope);
      case "CallStatement":
        return this.callBlock(node, scope);
      case "FilterStatement": {
        const operand = evaluated(toValue(this.captured(node.body, new Environment(scope))));
        return this.write([{ type: "FilterExpression", operand, filter: node.filter }], scope);
      }
      case "FilterExpression":
        return this.filtered(node, scope);
      case "TestExpression":
        return this.test(node, scope);
      case "CallExpression":
        return this.call(node, scope);
      case "MemberExpression":
        return this.member(node, scope);
      case "BinaryExpression":
        return this.binary(node, scope);
      case "Identifier":
        return lookUp(node.value, scope);
      default:
        return this.unmended(node, scope);
    }
  }

  /** Written as it goes: the library loses what stands before a `break` or `continue`. */
  private write(body: readonly Node[], scope: Environment): Value {
    for (const node of body) {
      const value = this.value(node, scope);
      if (!STATEMENTS.has(node.type)) this.add(printed(value));
    }
    return UNDEFINED;
  }

  private add(text: string): void {
    this.limit("text", this.output.length + text.length);
    this.output += text;
  }

  private captured(body: readonly Node[], scope: Environment): string {
    const before = this.output;
    this.output = "";
    if (++this.depth > MAX_DEPTH) throw new LimitError(`it calls itself more than ${MAX_DEPTH} times`);
    try {
      this.write(body, scope);
      return this.output;
    } finally {
      this.depth--;
      this.output = before;
    }
  }

  /** Each turn has a scope of its own: the library lets what one sets be seen by the next. Undefined has no turns. */
  private loop(node: Of<"For">, scope: Environment): Value {
    const { iterable } = node;
    const selects = iterable.type === "SelectExpression";
    const list = this.value(selects ? iterable.lhs : iterable, scope);
    const given = evaluated(list.type === "UndefinedValue" ? toValue([]) : list);
    const body = [bodyOf("Written", node.body)];
    const defaultBlock = [bodyOf("Written", node.defaultBlock)];
    return this.unmended(
      { ...node, iterable: selects ? { ...iterable, lhs: given } : given, body, defaultBlock },
      scope,
    );
  }

  /** A macro sees what stands where it was written; the library's sees what stands where it is called. */
  private macro(node: Of<"Macro">, scope: Environment): Value {
    this.unmended({ ...node, body: [bodyOf("Captured", node.body)] }, scope);
    const macro = lookUp(node.name.value, scope);
    const call = macro.value as (args: Value[], from: Environment) => Value;
    macro.value = (args: Value[], from: Environment) => {
      const inner = new Environment(scope);
      const caller = from.variables.get("caller");
      if (caller) inner.setVariable("caller", caller);
      return call(args, inner);
    };
    return UNDEFINED;
  }

  private callBlock(node: Of<"CallStatement">, scope: Environment): Value {
    const { callee } = node.call;
    if (callee.type === "Identifier" && callee.value === GENERATION) {
      this.add(`\ufdd0${this.captured(node.body, new Environment(scope))}\ufdd1`);
    } else {
      this.add(printed(this.unmended({ ...node, body: [bodyOf("Captured", node.body)] }, scope)));
    }
    return UNDEFINED;
  }

  private filtered({ operand: node, filter }: Of<"FilterExpression">, scope: Environment): Value {
    const operand = this.value(node, scope);
    const [name, args] =
      filter.type === "Identifier" ? [filter.value, []] : [nameOf(filter.callee), filter.args];
    const unmended = (value: Value) =>
      this.unmended({ type: "FilterExpression", operand: evaluated(value), filter }, scope);
    const { type, value } = operand;
    switch (name) {
      case "string":
        return toValue(printed(operand));
      case "trim":
        return toValue(stripped(printed(operand), args[0] && this.value(args[0], scope).value, "both"));
      case "safe": {
        const text = toValue(printed(operand));
        this.safe.add(text);
        return text;
      }
      case "length":
        if (type === "UndefinedValue") return toValue(0);
        this.refuseGenerator(operand, name);
        return typeof value === "string" ? toValue(Array.from(value).length) : unmended(operand);
      case "join":
        if (args.some(isKeyword)) throw new TemplateError("join takes a separator alone here");
        return unmended(Array.isArray(value) ? toValue(value.map(printed)) : operand);
      case "tojson":
        if (type === "UndefinedValue") throw new TemplateError("Undefined is not JSON serializable");
        this.refuseGenerator(operand, name);
        if (!args.every(isKeyword)) throw new TemplateError("tojson takes its arguments by name here");
        if (holdsOddFloat(operand))
          throw new TemplateError("tojson takes no number here that is 1.0 or 1e-7");
        return unmended(operand);
      default: {
        const result = unmended(operand);
        if (GENERATORS.has(name)) this.generators.add(result);
        else if (name === "list") this.generators.delete(result);
        return result;
      }
    }
  }

  private refuseGenerator(value: Value, filter: string): void {
    if (this.generators.has(value)) throw new TemplateError(`${filter} takes no generator, but a list`);
  }

  private test(node: Of<"TestExpression">, scope: Environment): Value {
    const operand = this.value(node.operand, scope);
    if (TESTS.get(node.test.value)?.includes(operand.type)) return toValue(!node.negate);
    return this.unmended({ ...node, operand: evaluated(operand) }, scope);
  }

  private call(node: Of<"CallExpression">, scope: Environment): Value {
    const callee = this.value(node.callee, scope);
    if (callee.type !== "FunctionValue")
      throw new TemplateError(`${nameOf(node.callee)}() is not known here`);
    return this.unmended({ ...node, callee: evaluated(callee) }, scope);
  }

  private member(node: Of<"MemberExpression">, scope: Environment): Value {
    const object = this.value(node.object, scope);
    const text = object.value;
    if (object.type === "UndefinedValue") throw new TemplateError(`'${nameOf(node.object)}' is undefined`);
    if (!node.computed && node.property.type === "Identifier") {
      const name = node.property.value;
      // A method comes before a key, as in Python: tools have parameters called "items" and "values".
      if (object.type === "ObjectValue" && DICT_METHODS.has(name)) return object.builtins.get(name)!;
      const side = STRIPS.get(name);
      if (side && typeof text === "string") return toValue((chars: unknown) => stripped(text, chars, side));
    }
    // By characters, as its slices are; the library counts UTF-16 units.
    const chars = typeof text === "string" && node.computed && node.property.type !== "SliceExpression";
    return this.unmended({ ...node, object: evaluated(chars ? toValue(Array.from(text)) : object) }, scope);
  }

  private binary(node: Of<"BinaryExpression">, scope: Environment): Value {
    const operator = node.operator.value;
    if (operator === "and" || operator === "or") return this.unmended(node, scope);
    const [left, right] = [this.value(node.left, scope), this.value(node.right, scope)];
    switch (operator) {
      case "==":
        return toValue(equal(left, right));
      case "!=":
        return toValue(!equal(left, right));
      case "~":
        return toValue(printed(left) + printed(right));
      case "in":
      case "not in":
        if (!Array.isArray(right.value)) break;
        return toValue(right.value.some((item) => equal(item, left)) === (operator === "in"));
      case "+":
        if (left.type === "StringValue" || right.type === "StringValue") return this.joined(left, right);
        break;
      case "/":
      case "//":
      case "%":
        if (right.value === 0) throw new TemplateError("division by zero");
        if (operator === "%" && [left, right].some(({ value }) => (value as number) < 0)) {
          throw new TemplateError("% takes no number below zero here");
        }
    }
    return this.unmended({ ...node, left: evaluated(left), right: evaluated(right) }, scope);
  }

  /** The library adds whatever stands beside a text. */
  private joined(left: Value, right: Value): Value {
    const both = [left, right];
    const stranger = both.find(({ type }) => type !== "StringValue");
    if (stranger) throw new TemplateError(`${named(stranger)} cannot be added to a text`);
    const sum = toValue(both.map(printed).join(""));
    if (!both.some((side) => this.safe.has(side))) return sum;
    if (both.some((side) => !this.safe.has(side) && /[&<>'"]/.test(printed(side)))) {
      throw new TemplateError("what is added to a `safe` text is escaped for HTML, which is not done here");
    }
    this.safe.add(sum);
    return sum;
  }
}

/** As the library, which throws, and catches, for each name that is not there. */
function lookUp(name: string, scope: Environment): Value {
  for (let at: Environment | undefined = scope; at; at = at.parent) {
    const value = at.variables.get(name);
    if (value) return value;
  }
  return UNDEFINED;
}

const isKeyword = ({ type }: Node): boolean => type === "KeywordArgumentExpression";

function nameOf(node: Node): string {
  if (node.type === "Identifier") return node.value;
  if (node.type !== "MemberExpression") return "(…)";
  return node.computed ? `${nameOf(node.object)}[…]` : `${nameOf(node.object)}.${nameOf(node.property)}`;
}
