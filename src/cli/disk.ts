/** What the system has against reading or writing a file, as an error of ours. */
import { FormatError } from "../base/errors.ts";

const NO_ROOM = "Make room there, or name another place.";
const NOT_ALLOWED = "Name a place that you may use, or change its permissions.";
const OTHER_KIND = "A file stands where a folder is wanted, or a folder where a file is: name another place.";
const REMEDIES: Readonly<Record<string, string>> = {
  ENOSPC: NO_ROOM,
  EDQUOT: NO_ROOM,
  EFBIG: NO_ROOM,
  EACCES: NOT_ALLOWED,
  EPERM: NOT_ALLOWED,
  EROFS: NOT_ALLOWED,
  ENOTDIR: OTHER_KIND,
  EISDIR: OTHER_KIND,
  EEXIST: OTHER_KIND,
};

/** `thrown` itself where Node's file system has not made it. */
export function diskError(thrown: unknown, path: string, work: "read" | "written"): unknown {
  if (!(thrown instanceof Error) || !("syscall" in thrown) || !("code" in thrown)) return thrown;
  // "ENOSPC: no space left on device, write"
  const why = /^[A-Z]+: ([^,]+)/.exec(thrown.message)?.[1] ?? thrown.message;
  const found = `${path} cannot be ${work}: ${why} (${thrown.code}).`;
  return new FormatError("disk", found, REMEDIES[String(thrown.code)] ?? "Check the path and the disk.");
}
