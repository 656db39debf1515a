/** Runs cases in a process of its own, which a mutant may hang or crash. */
import { type ChildProcess, fork } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { CaseName, Outcome, Report, Request } from "./messages.ts";

const starter = fileURLToPath(new URL("../../scripts/run.mjs", import.meta.url));
const worker = fileURLToPath(new URL("worker.ts", import.meta.url));
const START_MS = 300_000;
// However busy the machine is.
const MOST_MS = 900_000;
const LOOK_MS = 500;

export type Verdict = Outcome | { readonly kind: "hung" } | { readonly kind: "crashed" };

export class Judge {
  cases: readonly CaseName[] = [];
  device = "";
  /** How long the last case worked, as `run` counts it. */
  workedMs = 0;
  private child: ChildProcess | undefined;

  async start(): Promise<void> {
    const { INIT_CWD: _, ...env } = process.env;
    this.child = fork(starter, [worker], { env });
    const report = await this.answer(START_MS);
    if (report.kind !== "ready") {
      throw new Error(
        `The kernel cases could not be read: ${"message" in report ? report.message : report.kind}.`,
      );
    }
    this.cases = report.cases;
    this.device = report.device;
  }

  /**
   * One case; a process that works for `limitMs` without an answer is ended, and the next case gets a new one. What
   * counts is the processor's time where it can be read: on a busy machine a case that waits does not hang.
   */
  async run(request: Request, limitMs: number): Promise<Verdict> {
    if (!this.child) await this.start();
    this.child!.send(request);
    const report = await this.answer(limitMs);
    if (report.kind === "hung" || report.kind === "crashed") {
      this.stop();
      return report;
    }
    if (report.kind === "broken") throw new Error(`The runner of the kernel cases failed: ${report.message}`);
    if (report.kind === "ready") throw new Error("The runner of the kernel cases started twice.");
    return report;
  }

  stop(): void {
    this.child?.removeAllListeners();
    this.child?.kill("SIGKILL");
    this.child = undefined;
  }

  private answer(limitMs: number): Promise<Report | { kind: "hung" } | { kind: "crashed" }> {
    const child = this.child!;
    return new Promise((resolve) => {
      const started = performance.now();
      const workedBefore = processorMs(child);
      const look = setInterval(() => {
        if (workedMs() > limitMs || performance.now() - started > MOST_MS) settle({ kind: "hung" });
      }, LOOK_MS);
      const workedMs = () => {
        const waited = performance.now() - started;
        return workedBefore === undefined ? waited : (processorMs(child) ?? waited) - workedBefore;
      };
      const settle = (report: Report | { kind: "hung" } | { kind: "crashed" }) => {
        clearInterval(look);
        this.workedMs = workedMs();
        child.off("message", settle);
        child.off("exit", crashed);
        resolve(report);
      };
      const crashed = () => settle({ kind: "crashed" });
      child.on("message", settle);
      child.on("exit", crashed);
    });
  }
}

/** What a process and its threads have worked so far; undefined where the system does not tell. */
function processorMs({ pid }: ChildProcess): number | undefined {
  try {
    // After the name, in brackets: state is field 3, user and system time are 14 and 15, in hundredths of a second.
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return 10 * (Number(fields[11]) + Number(fields[12]));
  } catch {
    return undefined;
  }
}
