import { ConfigError } from "../base/errors.ts";
import { isJsonObject, type JsonObject, show } from "../base/json.ts";

/** No model comes near these; beyond them a config is a mistake or an attack on our memory. */
const LARGEST_SIZE = 2 ** 27;

/**
 * Reads a config.json key by key. An absent key takes the default; a null counts as absent only where the default
 * itself may be null (`undefined` here), as in Transformers' own typed configs.
 */
export class ConfigFields {
  readonly json: JsonObject;

  constructor(
    json: unknown,
    readonly fileName: string,
  ) {
    if (!isJsonObject(json)) {
      throw new ConfigError("config-shape", `${fileName} holds ${show(json)}, expected an object.`);
    }
    this.json = json;
  }

  has(key: string): boolean {
    return Object.hasOwn(this.json, key);
  }

  /** A whole number of at least 1. */
  size(key: string, fallback: number, largest = LARGEST_SIZE): number {
    if (!this.has(key)) return fallback;
    const value = this.json[key];
    if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= largest)
      return value as number;
    return this.wrong(key, `a whole number from 1 to ${largest}`);
  }

  /** As `size`; null and absent both give undefined. */
  optionalSize(key: string): number | undefined {
    return this.isNull(key) ? undefined : this.size(key, 0);
  }

  positive(key: string, fallback: number): number {
    if (!this.has(key)) return fallback;
    const value = this.json[key];
    if (typeof value === "number" && Number.isFinite(value) && value > 0) return value;
    return this.wrong(key, "a number above 0");
  }

  optionalPositive(key: string): number | undefined {
    return this.isNull(key) ? undefined : this.positive(key, 0);
  }

  boolean(key: string, fallback: boolean): boolean {
    if (!this.has(key)) return fallback;
    const value = this.json[key];
    return typeof value === "boolean" ? value : this.wrong(key, "true or false");
  }

  text(key: string, fallback: string): string {
    if (!this.has(key)) return fallback;
    const value = this.json[key];
    return typeof value === "string" ? value : this.wrong(key, "a text");
  }

  /** A probability; null counts as 0. */
  rate(key: string, fallback: number): number {
    if (this.isNull(key)) return this.has(key) ? 0 : fallback;
    const value = this.json[key];
    if (typeof value === "number" && value >= 0 && value <= 1) return value;
    return this.wrong(key, "a number from 0 to 1");
  }

  /** One token id, several or none. Ids that no token can have (-1) are dropped: hub configs hold them. */
  tokenIds(key: string, fallback: number[]): number[] {
    if (!this.has(key)) return fallback;
    const value = this.json[key];
    const ids = Array.isArray(value) ? value : value === null ? [] : [value];
    if (!ids.every((id) => Number.isInteger(id))) this.wrong(key, "a token id, a list of them or null");
    return (ids as number[]).filter((id) => id >= 0);
  }

  /** True for null and for absent. */
  isNull(key: string): boolean {
    return !this.has(key) || this.json[key] === null;
  }

  wrong(key: string, expected: string): never {
    const found = `${this.fileName} has ${key} = ${show(this.json[key])}`;
    throw new ConfigError("config-value", `${found}, expected ${expected}.`);
  }

  /** A setting that Transformers knows and Graft does not do. */
  unsupported(key: string, works: string): never {
    const found = `${this.fileName} has ${key} = ${show(this.json[key])}`;
    throw new ConfigError(
      "config-unsupported",
      `${found}, which Graft cannot train.`,
      `What works: ${works}.`,
    );
  }
}
