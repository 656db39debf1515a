/**
 * npm run bench: one training step in Graft, jax-js and TensorFlow.js, in one headless Chromium, taking turns; then
 * matrix products by themselves, and Graft's step kernel by kernel. Prints Markdown. What npm needs is there already
 * (bench.mjs).
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { type BenchBrowser, openBench } from "./browser.ts";
import { median } from "./median.ts";
import { type BenchOptions, type ContenderName, readOptions, usage } from "./options.ts";
import type { Turn } from "./page.ts";
import { benchLosses, benchSize } from "./problem.ts";
import { allTiles } from "./products.ts";
import { figure, table } from "./table.ts";

const titles: Record<ContenderName, string> = { graft: "Graft", jax: "jax-js", tfjs: "TensorFlow.js" };
const packages = { jax: "@jax-js/jax", tfjs: "@tensorflow/tfjs-backend-webgpu" } as const;

interface Measured {
  readonly name: ContenderName;
  readonly first: Turn;
  readonly turns: (Turn & { readonly cpuMs: number })[];
}

function versionOf(name: ContenderName): string {
  if (name === "graft") {
    const git = (...args: string[]): string =>
      execFileSync("git", args, { cwd: import.meta.dirname, encoding: "utf8" }).trim();
    return (
      git("rev-parse", "--short", "HEAD") + (git("status", "--porcelain", "-uno") ? " with changes" : "")
    );
  }
  const { dependencies } = JSON.parse(readFileSync(`${import.meta.dirname}/package.json`, "utf8"));
  return dependencies[packages[name]];
}

async function measureSteps(
  { page, gpuCpuSeconds }: BenchBrowser,
  { only, steps, rounds, tile }: BenchOptions,
): Promise<Measured[]> {
  const measured: Measured[] = [];
  const turn = async (name: ContenderName, count: number): Promise<Turn & { cpuMs: number }> => {
    const before = await gpuCpuSeconds();
    const taken = await page.evaluate(([name, count]) => bench.turn(name, count), [name, count] as const);
    return { ...taken, cpuMs: (1000 * ((await gpuCpuSeconds()) - before)) / count };
  };
  for (const name of only) {
    progress(`${titles[name]}: first step`);
    const options = tile ? { tile } : {};
    const first = await page.evaluate(([name, options]) => bench.start(name, options), [
      name,
      options,
    ] as const);
    measured.push({ name, first, turns: [] });
  }
  // Libraries have been seen to compile more in their second step.
  const losses = new Map(measured.map(({ name, first }) => [name, [...first.losses]]));
  for (const { name } of measured) losses.get(name)!.push(...(await turn(name, 1)).losses);
  for (let round = 0; round < rounds; round++) {
    for (const { name, turns } of measured) {
      progress(`round ${round + 1} of ${rounds}: ${titles[name]}`);
      const taken = await turn(name, steps);
      turns.push(taken);
      losses.get(name)!.push(...taken.losses);
    }
  }
  for (const [name, seen] of losses) checkLosses(name, seen);
  return measured;
}

function checkLosses(name: ContenderName, losses: readonly number[]): void {
  benchLosses.forEach((wanted, step) => {
    const found = losses[step];
    if (found === undefined || Math.abs(found - wanted) < 1e-4) return;
    throw new Error(`${titles[name]}: the loss of step ${step} is ${found}, expected ${wanted}.`);
  });
}

function printSteps(measured: readonly Measured[]): void {
  const rows = measured.map(({ name, first, turns }) => {
    const ms = turns.flatMap((turn) => turn.ms);
    const steps = turns.at(-1)!.ms.length;
    const { counts } = turns.at(-1)!;
    return [
      titles[name],
      figure(median(ms)),
      figure(Math.min(...ms)),
      figure(Math.max(...ms)),
      figure(median(turns.map(({ cpuMs }) => cpuMs))),
      figure(first.ms[0]!),
      ...[counts.submits, counts.dispatches, counts.buffers, counts.uploadedBytes].map((n) =>
        String(n / steps),
      ),
      String(first.counts.pipelines),
    ];
  });
  const head = ["step", "ms", "min", "max", "CPU ms", "first step ms"];
  const counted = ["submits", "dispatches", "buffers made", "bytes uploaded", "pipelines"];
  console.log(`\n${table([...head, ...counted], rows)}`);
  const graft = measured.find(({ name }) => name === "graft");
  if (!graft) return;
  const ratio = (other: Measured, of: (turn: Measured["turns"][number]) => number): string =>
    // Neighbours in time: what slows one of a round down slows the other down too.
    figure(median(other.turns.map((turn, round) => of(turn) / of(graft.turns[round]!))));
  for (const other of measured.filter((contender) => contender !== graft)) {
    const wall = ratio(other, ({ ms }) => median(ms));
    const cpu = ratio(other, ({ cpuMs }) => cpuMs);
    console.log(
      `\n${titles[other.name]} takes ${wall} times as long as Graft (median of the rounds), and ${cpu} times the CPU time.`,
    );
  }
}

async function printProducts({ page }: BenchBrowser, { rounds }: BenchOptions): Promise<void> {
  progress("matrix products");
  const speeds = await page.evaluate((rounds) => bench.products(rounds), rounds);
  const rows = speeds.map(({ what, pass, rows, width, out, best }) => [
    `${what}: ${pass}, x [${rows}, ${width}], W [${out}, ${width}]`,
    ...allTiles.map((tile) => figure(best[tile]!)),
  ]);
  console.log(`\n${table(["GFLOP/s of a product", ...allTiles], rows)}`);
}

async function printProfile({ page }: BenchBrowser, { rounds, tile }: BenchOptions): Promise<void> {
  progress("Graft's step by kernel");
  const options = tile ? { tile } : {};
  const shares = await page.evaluate(([rounds, options]) => bench.profile(rounds, options), [
    rounds,
    options,
  ] as const);
  if (shares.length === 0) {
    console.log("\nThis device has no timestamps: there is no profile.");
    return;
  }
  const total = shares.reduce((sum, { ms }) => sum + ms, 0);
  const share = (ms: number): string => `${((100 * ms) / total).toFixed(1)} %`;
  const files = new Map<string, { launches: number; ms: number }>();
  for (const { kernel, launches, ms } of shares) {
    const file = kernel.slice(0, kernel.indexOf("."));
    const sum = files.get(file) ?? { launches: 0, ms: 0 };
    files.set(file, { launches: sum.launches + launches, ms: sum.ms + ms });
  }
  const byFile = [...files]
    .sort(([, a], [, b]) => b.ms - a.ms)
    .map(([file, { launches, ms }]) => [file, String(launches), figure(ms), share(ms)]);
  console.log(`\n${table(["shader", "launches", "ms a step", "share"], byFile)}`);
  const rows = shares.map(({ kernel, launches, ms, flops }) => [
    kernel,
    String(launches),
    figure(ms),
    share(ms),
    flops === 0 ? "" : figure(flops / ms / 1e6),
  ]);
  console.log(`\n${table(["kernel", "launches", "ms a step", "share", "GFLOP/s"], rows)}`);
  const products = shares.filter(({ flops }) => flops > 0);
  const flops = products.reduce((sum, product) => sum + product.flops, 0);
  const ms = products.reduce((sum, product) => sum + product.ms, 0);
  console.log(
    `\nAll kernels: ${figure(total)} ms. Matrix products: ${figure(flops / 1e9)} GFLOP in ${figure(ms)} ms, ` +
      `${figure(flops / ms / 1e6)} GFLOP/s.`,
  );
}

function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  if (!options) {
    console.log(usage);
    return;
  }
  const browser = await openBench(options.hardware);
  try {
    const { vendor, architecture, device, description } = await browser.page.evaluate(() => bench.describe());
    const adapter = [vendor, architecture, device, description].filter(Boolean).join(", ");
    const { width, layers, heads, inner, vocabulary, length, rows, rank } = benchSize;
    console.log(
      `${new Date().toISOString().slice(0, 10)}. Adapter: ${adapter}. Host: ${cpus().length} × ${cpus()[0]?.model}. ` +
        `Chromium ${browser.version}. ${options.only.map((name) => `${titles[name]} ${versionOf(name)}`).join(", ")}.`,
    );
    console.log(
      `Step: width ${width}, ${layers} layers, ${heads} heads, inner width ${inner}, vocabulary ${vocabulary}, ` +
        `${rows} rows of ${length}, r ${rank}, Adam. ${options.rounds} rounds of ${options.steps}` +
        `${options.tile ? `, tile ${options.tile}` : ""}.`,
    );
    if (options.parts.includes("steps")) printSteps(await measureSteps(browser, options));
    if (options.parts.includes("products")) await printProducts(browser, options);
    if (options.parts.includes("profile")) await printProfile(browser, options);
  } finally {
    progress("");
    await browser.close();
  }
  process.exit();
}

await main();
