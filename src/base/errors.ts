/**
 * Expected failures. Each says what failed, what was found, what was wanted and what to do about it.
 * `code` is stable and machine-readable; `message` and `remedy` are for people.
 */
export class GraftError extends Error {
  readonly code: string;
  readonly remedy: string;

  constructor(code: string, message: string, remedy = "") {
    super(remedy ? `${message} ${remedy}` : message);
    this.name = new.target.name;
    this.code = code;
    this.remedy = remedy;
  }
}

/** A file that cannot be read: truncated, malformed, of an unknown kind. */
export class FormatError extends GraftError {}
/** A run file, model config or adapter config that asks for what is not there. */
export class ConfigError extends GraftError {}
/** Tensors that do not fit each other. */
export class ShapeError extends GraftError {}
/** Rows that cannot be trained on. */
export class DataError extends GraftError {}
/** No adapter, a limit that is too small, a lost device. */
export class DeviceError extends GraftError {}

/** A failure as it crosses the worker boundary, where classes do not survive. */
export interface Failure {
  ok: false;
  code: string;
  message: string;
  remedy: string;
}

export type Result<T> = { ok: true; value: T } | Failure;

export function success<T>(value: T): Result<T> {
  return { ok: true, value };
}

/** Turns a thrown value into a Failure; what is not a GraftError is reported as a defect of ours. */
export function failure(thrown: unknown): Failure {
  if (thrown instanceof GraftError) {
    const { code, remedy } = thrown;
    // An Error's message ends with the remedy, for those who see nothing else; here the two stand apart.
    const message = remedy ? thrown.message.slice(0, -remedy.length).trimEnd() : thrown.message;
    return { ok: false, code, message, remedy };
  }
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return { ok: false, code: "internal", message, remedy: "This is a defect in Graft: please report it." };
}
