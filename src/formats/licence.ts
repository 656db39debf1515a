import type { ByteSource, FileSet } from "../base/bytes.ts";

/** As much of a text file as a licence's name could stand in. */
const READ_BYTES = 64 * 1024;

/**
 * The licence that a checkpoint's folder states, in its own words: `license` in the front matter of its README.md, as
 * the hub has it, or the title of its LICENSE. Undefined where it states none.
 */
export async function statedLicence(files: FileSet): Promise<string | undefined> {
  const card = files.open("README.md");
  const [, matter] = /^---\r?\n([\s\S]*?)\r?\n---/.exec(card ? await beginning(card) : "") ?? [];
  const [, stated] = /^license:[ \t]*["']?([^"'\r\n]+?)["']?[ \t]*$/m.exec(matter ?? "") ?? [];
  if (stated !== undefined) return stated;
  const name = files.names().find((name) => /^licen[cs]e(\.(txt|md))?$/i.test(name));
  const lines = name === undefined ? [] : (await beginning(files.open(name)!)).split("\n");
  const title = lines.map((line) => line.replace(/^[#\s]+/, "").trim()).find((line) => line !== "");
  return title?.slice(0, 100);
}

async function beginning(source: ByteSource): Promise<string> {
  return new TextDecoder().decode(await source.read(0, Math.min(source.size, READ_BYTES)));
}
