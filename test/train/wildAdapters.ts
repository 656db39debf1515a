/**
 * Holds Graft against the adapters of reference/wild_adapters.py, which runs this:
 *
 *     node scripts/run.mjs test/train/wildAdapters.ts DIR [NAME…]
 *
 * Each is to be refused with the code that its case.json names; or to be opened with PEFT's logits, handed on in every form
 * that can hold it, and written once more beside it (`again/`), which PEFT opens in its turn. Exit code 1 where one is not as
 * expected.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { GraftError } from "../../src/base/errors.ts";
import type { ExportFormat } from "../../src/train/exportFiles.ts";
import {
  type HeldAdapter,
  handOn,
  holdAdapter,
  LOGIT_LIMIT,
  logitDifference,
  OTHER_FORMATS,
  release,
  type Wanted,
} from "./heldAdapter.ts";

interface Case extends Pick<Wanted, "base" | "ids"> {
  /** "agrees…" for PEFT's logits, or the code of the error. */
  readonly graft: string;
  readonly logits?: Wanted["logits"];
}

const [folder = "", ...chosen] = process.argv.slice(2);

/** What becomes of an adapter, in words that begin as `graft` does where they are as expected. */
async function outcome(name: string, wanted: Case): Promise<string> {
  try {
    const held = await holdAdapter(`${folder}/${name}/adapter`, wanted.base);
    const { logits } = wanted;
    if (!logits) return "opens: it was to be refused";
    const difference = await logitDifference(held.live, { ...wanted, logits });
    keep(`${folder}/${name}/again`, held);
    for (const format of OTHER_FORMATS) await handOnIfHeld(format, held);
    held.live.destroy();
    const isNear = difference <= LOGIT_LIMIT;
    return `${isNear ? wanted.graft : "differs"}: ${difference.toExponential(1)} of the largest logit`;
  } catch (thrown) {
    return thrown instanceof GraftError
      ? `${thrown.code}: ${thrown.message}`
      : `fails: ${(thrown as Error).stack ?? thrown}`;
  }
}

/** PEFT's own loader is to read these. */
function keep(path: string, { again }: HeldAdapter): void {
  mkdirSync(path, { recursive: true });
  for (const [file, bytes] of again) writeFileSync(`${path}/${file}`, bytes);
}

/** A GGUF adapter holds less than PEFT's, and says what it cannot; merged the adapter must come through whatever it is. */
async function handOnIfHeld(format: ExportFormat, held: HeldAdapter): Promise<void> {
  try {
    await handOn(format, held);
  } catch (thrown) {
    if (!(format === "gguf" && thrown instanceof GraftError && thrown.code.startsWith("gguf-"))) throw thrown;
  }
}

let failed = 0;
const names = readdirSync(folder).filter((name) => existsSync(`${folder}/${name}/case.json`));
for (const name of chosen.length > 0 ? chosen : names) {
  const wanted = JSON.parse(readFileSync(`${folder}/${name}/case.json`, "utf8")) as Case;
  const found = await outcome(name, wanted);
  const isExpected = found.startsWith(`${wanted.graft}: `);
  if (!isExpected) failed++;
  console.log(`${name.padEnd(22)} ${isExpected ? found : `FAILED, expected ${wanted.graft}; ${found}`}`);
}
console.log(`${failed} not as expected`);
process.exitCode = failed === 0 ? 0 : 1;
release();
