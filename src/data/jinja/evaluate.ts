/**
 * Evaluates a chat template as Jinja2 does in Transformers' sandbox. @huggingface/jinja parses; its own interpreter is
 * not used, for it prints None as nothing and True as true, strips white space where it was given other characters,
 * lets what a loop sets outlive the iteration, knows no more of a `{% generation %}` block than its text, and cannot be
 * stopped (docs/chat-templates.md).
 */
import type {
  Argument,
  Assignment,
  CallBlock,
  Expression,
  Filter,
  For,
  Macro,
  Parameter,
  Statement,
} from "./ast.ts";
import { applyFilter, applyTest } from "./filters.ts";
import type { Limits } from "./limits.ts";
import { attribute, binary, slice, subscript } from "./operators.ts";
import {
  Attributes,
  type Callable,
  Float,
  items,
  numberOf,
  print,
  TemplateError,
  Tuple,
  truth,
  typeName,
  type Value,
} from "./values.ts";

export class Scope {
  private readonly variables = new Map<string, Value>();
  private readonly parent: Scope | undefined;

  constructor(parent?: Scope) {
    this.parent = parent;
  }

  get(name: string): Value {
    for (let scope: Scope | undefined = this; scope; scope = scope.parent) {
      if (scope.variables.has(name)) return scope.variables.get(name);
    }
    return undefined;
  }

  set(name: string, value: Value): void {
    this.variables.set(name, value);
  }
}

/** Why a block ended before its end. */
type Stop = "break" | "continue" | undefined;

const NONE_NAMED: ReadonlyMap<string, Value> = new Map();

export class Evaluator {
  private readonly limits: Limits;

  constructor(limits: Limits) {
    this.limits = limits;
  }

  render(body: readonly Statement[], scope: Scope): string {
    return this.captured(body, scope);
  }

  private captured(body: readonly Statement[], scope: Scope): string {
    const output = new Output(this.limits);
    this.block(body, scope, output);
    return output.text;
  }

  private block(body: readonly Statement[], scope: Scope, output: Output): Stop {
    for (const statement of body) {
      const stop = this.statement(statement, scope, output);
      if (stop) return stop;
    }
    return undefined;
  }

  private statement(node: Statement, scope: Scope, output: Output): Stop {
    switch (node.type) {
      case "Comment":
        return undefined;
      case "Break":
        return "break";
      case "Continue":
        return "continue";
      case "If":
        return this.block(truth(this.value(node.test, scope)) ? node.body : node.alternate, scope, output);
      case "For":
        this.loop(node, scope, output);
        return undefined;
      case "Set":
        this.assign(node, scope);
        return undefined;
      case "Macro":
        scope.set(node.name.value, this.macro(node.name.value, node, scope));
        return undefined;
      case "CallStatement":
        output.add(print(this.callBlock(node, scope)));
        return undefined;
      case "FilterStatement":
        output.add(print(this.filtered(this.captured(node.body, new Scope(scope)), node.filter, scope)));
        return undefined;
      default:
        output.add(print(this.value(node, scope)));
        return undefined;
    }
  }

  private loop({ loopvar, iterable, body, defaultBlock }: For, scope: Scope, output: Output): void {
    const [source, test] =
      iterable.type === "SelectExpression" ? [iterable.lhs, iterable.test] : [iterable, undefined];
    let list = items(this.value(source, scope));
    if (test) {
      list = list.filter((item) => {
        const inner = new Scope(scope);
        unpack(loopvar, item, inner);
        return truth(this.value(test, inner));
      });
    }
    const changed: { last?: readonly Value[] } = {};
    for (let i = 0; i < list.length; i++) {
      this.limits.tick();
      const inner = new Scope(scope);
      unpack(loopvar, list[i], inner);
      inner.set("loop", loopState(list, i, changed));
      if (this.block(body, inner, output) === "break") break;
    }
    if (list.length === 0) this.block(defaultBlock, scope, output);
  }

  private assign({ assignee, value, body }: Assignment, scope: Scope): void {
    const given = value ? this.value(value, scope) : this.captured(body, new Scope(scope));
    if (assignee.type === "Identifier" || assignee.type === "TupleLiteral") unpack(assignee, given, scope);
    else if (assignee.type === "MemberExpression" && assignee.property.type === "Identifier") {
      const object = this.value(assignee.object, scope);
      const name = assignee.property.value;
      if (!(object instanceof Attributes) || !object.mutable) {
        throw new TemplateError("cannot assign attribute on non-namespace object");
      }
      object.entries.set(attributeName(name), given);
    } else throw new TemplateError("only a name, several, or an attribute of a namespace can be set");
  }

  /** A macro sees what stands where it was written, not where it is called. */
  private macro(
    name: string,
    { args: parameters, body }: { readonly args: readonly Parameter[]; readonly body: Macro["body"] },
    scope: Scope,
  ): Callable {
    return (args, named) => {
      this.limits.tick();
      if (args.length > parameters.length) {
        throw new TemplateError(`macro '${name}' takes not more than ${parameters.length} argument(s)`);
      }
      const inner = new Scope(scope);
      const left = new Map(named);
      parameters.forEach((parameter, i) => {
        const [key, otherwise] =
          parameter.type === "Identifier"
            ? [parameter.value, undefined]
            : [parameter.key.value, parameter.value];
        const given = i < args.length || left.has(key);
        const value = i < args.length ? args[i] : left.get(key);
        left.delete(key);
        inner.set(key, given || !otherwise ? value : this.value(otherwise, inner));
      });
      if (left.has("caller")) inner.set("caller", left.get("caller"));
      left.delete("caller");
      const [stranger] = left.keys();
      if (stranger !== undefined) {
        throw new TemplateError(`macro '${name}' takes no keyword argument '${stranger}'`);
      }
      return this.captured(body, inner);
    };
  }

  private callBlock({ call, callerArgs, body }: CallBlock, scope: Scope): Value {
    const caller = this.macro("caller", { args: callerArgs ?? [], body }, scope);
    const { args, named } = this.arguments(call.args, scope);
    return this.called(call.callee, scope)(args, new Map([...named, ["caller", caller]]));
  }

  value(node: Expression, scope: Scope): Value {
    this.limits.tick();
    switch (node.type) {
      case "StringLiteral":
      case "IntegerLiteral":
        return node.value;
      case "FloatLiteral":
        return new Float(node.value);
      case "Identifier":
        return scope.get(node.value);
      case "ArrayLiteral":
        return node.value.map((item) => this.value(item, scope));
      case "TupleLiteral":
        return Tuple.from(node.value, (item) => this.value(item, scope));
      case "ObjectLiteral":
        return new Map(
          [...node.value].map(([key, entry]) => [this.value(key, scope), this.value(entry, scope)]),
        );
      case "MemberExpression":
        return this.member(node, scope);
      case "CallExpression": {
        const callee = this.called(node.callee, scope);
        const { args, named } = this.arguments(node.args, scope);
        return callee(args, named);
      }
      case "FilterExpression":
        return this.filtered(this.value(node.operand, scope), node.filter, scope);
      case "TestExpression":
        return applyTest(node.test.value, this.value(node.operand, scope)) !== node.negate;
      case "UnaryExpression":
        return unary(node.operator.value, this.value(node.argument, scope));
      case "BinaryExpression":
        return this.binary(node, scope);
      case "Ternary":
        return this.value(truth(this.value(node.condition, scope)) ? node.trueExpr : node.falseExpr, scope);
      case "SelectExpression":
        return truth(this.value(node.test, scope)) ? this.value(node.lhs, scope) : undefined;
      default:
        throw new TemplateError(`${(node satisfies never as Expression).type} is not known here`);
    }
  }

  private binary(node: Extract<Expression, { type: "BinaryExpression" }>, scope: Scope): Value {
    const left = this.value(node.left, scope);
    const operator = node.operator.value;
    if (operator === "and") return truth(left) ? this.value(node.right, scope) : left;
    if (operator === "or") return truth(left) ? left : this.value(node.right, scope);
    const right = this.value(node.right, scope);
    if (left === undefined && !["==", "!=", "in", "not in", "~"].includes(operator)) throw missing(node.left);
    if (right === undefined && !["==", "!=", "in", "not in", "~"].includes(operator))
      throw missing(node.right);
    return binary(operator, left, right, this.limits);
  }

  private member(node: Extract<Expression, { type: "MemberExpression" }>, scope: Scope): Value {
    const object = this.value(node.object, scope);
    const { property } = node;
    if (property.type === "SliceExpression") {
      const part = (bound: Expression | undefined) => bound && this.value(bound, scope);
      return slice(object, part(property.start), part(property.stop), part(property.step));
    }
    if (object === undefined) throw missing(node.object);
    if (!node.computed && property.type === "Identifier")
      return attribute(object, property.value, this.limits);
    return subscript(object, this.value(property, scope), this.limits);
  }

  private called(callee: Expression, scope: Scope): Callable {
    const value = this.value(callee, scope);
    if (typeof value === "function") return value;
    if (value === undefined) throw missing(callee);
    throw new TemplateError(`'${typeName(value)}' object is not callable`);
  }

  private filtered(value: Value, filter: Filter, scope: Scope): Value {
    if (filter.type === "Identifier") {
      return applyFilter(filter.value, value, { args: [], named: NONE_NAMED }, this.limits);
    }
    if (filter.callee.type !== "Identifier") throw new TemplateError("a filter must have a name");
    return applyFilter(filter.callee.value, value, this.arguments(filter.args, scope), this.limits);
  }

  private arguments(nodes: readonly Argument[], scope: Scope): { args: Value[]; named: Map<string, Value> } {
    const args: Value[] = [];
    const named = new Map<string, Value>();
    for (const node of nodes) {
      if (node.type === "KeywordArgumentExpression") named.set(node.key.value, this.value(node.value, scope));
      else if (node.type === "SpreadExpression") args.push(...items(this.value(node.argument, scope)));
      else if (node.type === "KeywordSpreadExpression") {
        const more = this.value(node.argument, scope);
        if (!(more instanceof Map)) throw new TemplateError(`argument after ** must be a mapping`);
        for (const [key, value] of more) named.set(print(key), value);
      } else args.push(this.value(node, scope));
    }
    return { args, named };
  }
}

/** What a block has written so far. */
class Output {
  text = "";
  private readonly limits: Limits;

  constructor(limits: Limits) {
    this.limits = limits;
  }

  add(text: string): void {
    this.limits.text(this.text.length + text.length);
    this.text += text;
  }
}

function unpack(target: Expression, value: Value, scope: Scope): void {
  if (target.type === "Identifier") {
    scope.set(target.value, value);
    return;
  }
  if (target.type !== "TupleLiteral") throw new TemplateError("a value can only be unpacked into names");
  const parts = items(value);
  if (parts.length !== target.value.length) {
    throw new TemplateError(`${target.value.length} values were to be unpacked, there are ${parts.length}`);
  }
  for (const [i, name] of target.value.entries()) unpack(name, parts[i], scope);
}

function unary(operator: string, value: Value): Value {
  if (operator === "not") return !truth(value);
  const number = numberOf(value);
  if (number === undefined)
    throw new TemplateError(`bad operand type for unary ${operator}: '${typeName(value)}'`);
  const signed = operator === "-" ? -number : number;
  return value instanceof Float ? new Float(signed) : signed;
}

function loopState(list: readonly Value[], i: number, changed: { last?: readonly Value[] }): Attributes {
  const { length } = list;
  const cycle: Callable = (args) => args[i % args.length];
  const hasChanged: Callable = (args) => {
    const before = changed.last;
    changed.last = args;
    return !before || JSON.stringify(before) !== JSON.stringify(args);
  };
  return new Attributes(
    new Map<string, Value>([
      ["index", i + 1],
      ["index0", i],
      ["revindex", length - i],
      ["revindex0", length - i - 1],
      ["first", i === 0],
      ["last", i === length - 1],
      ["length", length],
      ["previtem", list[i - 1]],
      ["nextitem", list[i + 1]],
      ["depth", 1],
      ["depth0", 0],
      ["cycle", cycle],
      ["changed", hasChanged],
    ]),
    false,
  );
}

/** Namespaces refuse names of Python's own, and so does this. */
export function attributeName(name: string): string {
  if (!name.startsWith("_")) return name;
  throw new TemplateError(`a namespace cannot hold "${name}"`);
}

function missing(node: Expression): TemplateError {
  return new TemplateError(`'${nameOf(node)}' is undefined`);
}

function nameOf(node: Expression): string {
  if (node.type === "Identifier") return node.value;
  if (node.type !== "MemberExpression") return "a value";
  const { object, property, computed } = node;
  if (property.type === "Identifier" && !computed) return `${nameOf(object)}.${property.value}`;
  return property.type === "StringLiteral" || property.type === "IntegerLiteral"
    ? `${nameOf(object)}[${JSON.stringify(property.value)}]`
    : `${nameOf(object)}[…]`;
}
