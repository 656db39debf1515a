/** The fates of a run's mutants as text, and whether they are good enough. */
import type { Accepted } from "./accepted.ts";
import type { Mutant } from "./mutate.ts";

/** `refused`: the device did not take the shader, so the mutant counts for nothing. */
export type Fate = "dead" | "hung" | "refused" | "live";

export interface Judged {
  readonly mutant: Mutant;
  readonly fate: Fate;
}

/** More living mutants than this share of those that compile fail the run. */
export const MOST_LIVE = 0.03;

const isOf = (accepted: Accepted, mutant: Mutant): boolean =>
  accepted.file === mutant.file &&
  accepted.fn === mutant.fn &&
  accepted.before === mutant.before &&
  accepted.after === mutant.after;

export interface Finding {
  readonly table: string;
  readonly live: string;
  /** What is not as it must be; empty where all is well. */
  readonly complaints: readonly string[];
}

/** `possible`: every mutant of the files concerned, tried or not. */
export function report(
  judged: readonly Judged[],
  possible: readonly Mutant[],
  accepted: readonly Accepted[],
): Finding {
  const complaints: string[] = [];
  const survivors = judged.filter(({ fate }) => fate === "live");
  const live = survivors.map(({ mutant }) => {
    const reason = accepted.find((entry) => isOf(entry, mutant))?.reason;
    if (!reason) complaints.push(`${place(mutant)} lives without a reason.`);
    return `${place(mutant)} (${mutant.kind})\n  - ${mutant.before}\n  + ${mutant.after}\n  ${reason ?? "NO REASON"}`;
  });
  const counted = judged.filter(({ fate }) => fate !== "refused").length;
  const share = counted === 0 ? 0 : survivors.length / counted;
  if (share >= MOST_LIVE) {
    complaints.push(`${percent(share)} of the mutants live; less than ${percent(MOST_LIVE)} is wanted.`);
  }
  const files = new Set(possible.map(({ file }) => file));
  for (const entry of accepted.filter(({ file }) => files.has(file))) {
    const name = `accepted.ts: ${entry.file}.wgsl ${entry.fn}: ${entry.after}`;
    if (!possible.some((mutant) => isOf(entry, mutant))) complaints.push(`${name}: there is no such mutant.`);
    const fates = judged.filter(({ mutant }) => isOf(entry, mutant)).map(({ fate }) => fate);
    if (fates.length > 0 && !fates.includes("live")) complaints.push(`${name}: it does not live any more.`);
  }
  return { table: table(judged), live: live.join("\n"), complaints };
}

const place = ({ file, line, fn }: Mutant) => `shaders/${file}.wgsl:${line} ${fn}`.trimEnd();

const percent = (share: number) => `${(100 * share).toFixed(1)} %`;

function table(judged: readonly Judged[]): string {
  const columns = ["made", "dead", "hung", "refused", "live", "share"] as const;
  const row = (name: string, of: readonly Judged[]): string => {
    const count = (fate: Fate) => of.filter((one) => one.fate === fate).length;
    const counted = of.length - count("refused");
    const share = counted === 0 ? "" : percent(count("live") / counted);
    const cells = [of.length, count("dead"), count("hung"), count("refused"), count("live"), share];
    return name.padEnd(16) + cells.map((cell) => String(cell).padStart(9)).join("");
  };
  const files = [...new Set(judged.map(({ mutant }) => mutant.file))];
  return [
    "shader".padEnd(16) + columns.map((name) => name.padStart(9)).join(""),
    ...files.map((file) =>
      row(
        file,
        judged.filter(({ mutant }) => mutant.file === file),
      ),
    ),
    row("all", judged),
  ].join("\n");
}
