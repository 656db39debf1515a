import { ConfigError } from "../base/errors.ts";

/** What `read` makes of a command's arguments. With --help among them the command says how it is used, and ends. */
export function readArguments<T>(usage: string, read: () => T): T {
  if (process.argv.includes("--help")) {
    console.log(`Usage: ${usage}`);
    process.exit();
  }
  try {
    return read();
  } catch (thrown) {
    const found = (thrown as Error).message.replace(/\.$/, "");
    throw new ConfigError("arguments", `${found}.`, `Usage: ${usage}`);
  }
}
