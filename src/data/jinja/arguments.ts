import { type Named, TemplateError, typeName, type Value } from "./values.ts";

/** The arguments of a call, by place or by name. */
export class Arguments {
  readonly args: readonly Value[];
  readonly named: Named;

  constructor(args: readonly Value[], named: Named) {
    this.args = args;
    this.named = named;
  }

  get(place: number, name: string, otherwise?: Value): Value {
    if (place < this.args.length) return this.args[place];
    return this.named.has(name) ? this.named.get(name) : otherwise;
  }

  /** Those that stand behind the first `count`. */
  from(count: number): Arguments {
    return new Arguments(this.args.slice(count), this.named);
  }

  text(place: number, name: string): string {
    const value = this.get(place, name);
    if (typeof value === "string") return value;
    throw new TemplateError(`${name} must be str, not ${typeName(value)}`);
  }

  /** A text, or undefined where it is None or not there. */
  optionalText(place: number, name: string): string | undefined {
    const value = this.get(place, name);
    return value === undefined || value === null ? undefined : this.text(place, name);
  }

  integer(place: number, name: string, otherwise: number): number {
    const value = this.get(place, name, otherwise);
    if (typeof value === "number") return value;
    if (value === undefined || value === null) return otherwise;
    throw new TemplateError(`${name} must be int, not ${typeName(value)}`);
  }
}
