/** Runs cases in a process of its own, which a mutant may hang or crash. */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { CaseName, Outcome, Report, Request } from "./messages.ts";

const starter = fileURLToPath(new URL("../../scripts/run.mjs", import.meta.url));
const worker = fileURLToPath(new URL("worker.ts", import.meta.url));
const START_MS = 120_000;

export type Verdict = Outcome | { readonly kind: "hung" } | { readonly kind: "crashed" };

export class Judge {
  cases: readonly CaseName[] = [];
  device = "";
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

  /** One case; a process that does not answer in `limitMs` is ended, and the next case gets a new one. */
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
      const settle = (report: Report | { kind: "hung" } | { kind: "crashed" }) => {
        clearTimeout(timer);
        child.off("message", settle);
        child.off("exit", crashed);
        resolve(report);
      };
      const crashed = () => settle({ kind: "crashed" });
      const timer = setTimeout(() => settle({ kind: "hung" }), limitMs);
      child.on("message", settle);
      child.on("exit", crashed);
    });
  }
}
