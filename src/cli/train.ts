/** The command that trains: `npm run train -- …`, as USAGE says. */
import { basename, resolve } from "node:path";
import { parseArgs } from "node:util";
import { readJsonObject } from "../base/read-json.ts";
import { plural } from "../base/words.ts";
import { Gpu } from "../gpu/device.ts";
import { Kernels } from "../gpu/kernels.ts";
import { type Dataset, readDataset } from "../train/dataset.ts";
import type { SampleReport } from "../train/reports.ts";
import { parseRunFile } from "../train/runFile.ts";
import type { SelfCheck } from "../train/selfCheck.ts";
import { Session } from "../train/session.ts";
import { checkWords } from "./checkWords.ts";
import { requestNodeDevice, trouble } from "./device.ts";
import { fileSource, openAdapterPath, openDirectory, openRows } from "./files.ts";
import { StagedFiles } from "./staged.ts";
import { openChatTemplate, startTemplateThread } from "./templates.ts";
import { auditLines, trainableLines } from "./trainables.ts";
import { readArguments } from "./usage.ts";

const USAGE = `npm run train -- --model DIR --data FILE|DIR… --config run.json
  [--eval-data FILE|DIR…] [--faulty refuse|skip] [--adapter DIR|ZIP|GGUF] [--out DIR]`;

function givenArguments() {
  const options = {
    model: { type: "string" },
    data: { type: "string", multiple: true },
    "eval-data": { type: "string", multiple: true },
    faulty: { type: "string", default: "refuse" },
    config: { type: "string" },
    adapter: { type: "string" },
    out: { type: "string", default: "adapter" },
  } as const;
  const { values } = parseArgs({ options });
  const { model, data, config, faulty } = values;
  if (faulty !== "refuse" && faulty !== "skip") throw new Error(`--faulty is ${faulty}, not refuse or skip`);
  if (model === undefined || data === undefined || config === undefined)
    throw new Error("--model, --data and --config must be given");
  return { ...values, model, data, config, faulty } as const;
}

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** One line that is drawn over itself on a terminal, and left out where there is none. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}

function bar(done: number, total: number): string {
  const filled = Math.round((20 * done) / Math.max(1, total));
  return `[${"#".repeat(filled)}${".".repeat(20 - filled)}] ${done}/${total}`;
}

/** Faulty rows that are told one by one, and columns by their names. */
const SHOWN_FAULTS = 10;
const SHOWN_COLUMNS = 20;

/** Says what was found amiss with the rows, before any of them is trained on. */
function tellOf({ parsed, duplicates, leaks }: Dataset): void {
  const note = (text: string): void => console.log(`           ${text}`);
  for (const { faults, faultCount, replacedSurrogates, unusedColumns } of parsed) {
    if (faultCount > 0) note(`faulty rows, left out: ${faultCount}`);
    for (const { message } of faults.slice(0, SHOWN_FAULTS)) note(`- ${message}`);
    if (faultCount > SHOWN_FAULTS) note(`- and ${faultCount - SHOWN_FAULTS} more`);
    if (replacedSurrogates > 0) note(`lone surrogates, replaced: ${replacedSurrogates}`);
    if (unusedColumns.length > 0)
      note(
        `columns not used: ${unusedColumns.slice(0, SHOWN_COLUMNS).join(", ")}${unusedColumns.length > SHOWN_COLUMNS ? ", …" : ""}`,
      );
  }
  if (duplicates.length > 0) note(`rows that say what an earlier one says: ${duplicates.length}`);
  if (leaks.length > 0) note(`trained rows that are held out, too: ${leaks.length}`);
}

/** Questions and answers, each on a line of its own. */
function sampleLines({ step, samples }: SampleReport): string[] {
  return samples.flatMap(({ prompt, greedy, sampled }) => [
    `sample     after step ${step}: ${JSON.stringify(typeof prompt === "string" ? prompt : prompt.at(-1)!.content)}`,
    `  greedy   ${JSON.stringify(greedy)}`,
    ...(sampled === null ? [] : [`  drawn    ${JSON.stringify(sampled)}`]),
  ]);
}

async function main(): Promise<void> {
  const given = readArguments(USAGE, givenArguments);
  const out = resolve(given.out);
  const staged = new StagedFiles(out);
  await staged.check();
  const run = parseRunFile(await readJsonObject(await fileSource(given.config)), basename(given.config));
  const dataset = await readDataset(
    await openRows(given.data),
    await openRows(given["eval-data"] ?? []),
    run.train,
    {
      faulty: given.faulty,
      onProgress: (read, total, rows) =>
        progress(`reading ${mebibytes(read)} of ${mebibytes(total)}, ${rows} rows`),
    },
  );
  progress("");
  const model = await openDirectory(given.model);
  const adapter = given.adapter === undefined ? undefined : await openAdapterPath(given.adapter);

  const node = await requestNodeDevice();
  console.log(`device     ${node.description}`);
  const gpu = new Gpu(node.device);
  const sources = {
    ...{ model, rows: dataset.train, heldOut: dataset.heldOut, run, adapter },
    chatTemplate: await openChatTemplate(run.train.chat_template_path),
    startTemplates: startTemplateThread,
  };
  const session = await Session.open(gpu, new Kernels(gpu), sources, {
    onProgress: (stage, done, total) => {
      const words = {
        start: () => `decomposing weight ${done + 1} of ${total}`,
        load: () => `loading ${mebibytes(done)} of ${mebibytes(total)}`,
        compile: () => `compiling ${bar(done, total)}`,
      };
      progress(words[stage]());
    },
  });
  const { summary } = session;
  const share = (100 * summary.trainableCount) / (summary.parameters + summary.trainableCount);
  console.log(`model      ${summary.modelType}, ${summary.parameters} parameters`);
  console.log(
    `trainable  ${summary.trainableCount} (${share.toFixed(3)} %) in ${summary.trainable.length} ${plural(summary.trainable.length, "tensor")}`,
  );
  for (const line of trainableLines(summary)) console.log(line);
  const { tokenised, heldOut } = summary;
  console.log(
    `data       ${tokenised.rows.length} ${plural(tokenised.rows.length, "row")}, ${tokenised.tokens} tokens, ${tokenised.targets} trained; ` +
      `left out ${tokenised.leftOut}, cut ${tokenised.cut}`,
  );
  if (heldOut)
    console.log(
      `held out   ${heldOut.rows.length} ${plural(heldOut.rows.length, "row")}, ${heldOut.targets} targets`,
    );
  tellOf(dataset);
  const memory = Object.entries(summary.memory).map(([part, bytes]) => `${part} ${mebibytes(bytes)}`);
  console.log(`memory     ${memory.join(", ")}`);
  for (const warning of summary.warnings) console.log(`note       ${warning}`);

  const trained = session.prepare().then(() =>
    session.run((report) => {
      if ("eval_loss" in report) {
        progress("");
        console.log(`held out   loss ${report.eval_loss.toFixed(4)} after step ${report.step}`);
        return;
      }
      if ("samples" in report) {
        progress("");
        for (const line of sampleLines(report)) console.log(line);
        return;
      }
      if ("audit" in report) {
        progress("");
        for (const line of auditLines(report)) console.log(line);
        return;
      }
      // Told of at the end, with what can be done about it.
      if ("diverged" in report) return;
      const line = `${bar(report.step, summary.steps)}  loss ${report.loss.toFixed(4)}`;
      if (process.stderr.isTTY) progress(line);
      else if (report.step === 1 || report.step === summary.steps || report.step % 10 === 0)
        console.log(line);
    }),
  );
  // Out of memory and a lost device are told by the device, not by what was asked of it.
  await Promise.race([trained, trouble(node.device)]);
  progress("");

  const facts = {
    baseModel: given.model,
    dataset: given.data.map((path) => basename(path)).join(", "),
    device: node.description,
  };
  let check: SelfCheck;
  try {
    check = await session.export("peft", facts, (file) => staged.write(file));
    staged.keep();
  } finally {
    staged.discard();
  }
  const [first, last] = [session.reports[0], session.reports.at(-1)];
  if (first && last) {
    const perSecond = session.reports.reduce((sum, { tokens }) => sum + tokens, 0) / (last.elapsed_ms / 1000);
    console.log(
      `done       ${last.step} ${plural(last.step, "step")}, loss ${first.loss.toFixed(4)} → ${last.loss.toFixed(4)}, ` +
        `${Number(perSecond.toPrecision(3))} trained tokens a second`,
    );
  }
  const { best, adapterStep, diverged, steps } = session.outcome;
  if (diverged) console.log(`diverged   ${diverged.message} ${diverged.remedy}`);
  else if (steps < summary.steps) console.log("           early stopping has ended the run");
  if (best) console.log(`best       ${best.metric} ${best.value.toFixed(4)} after step ${best.step}`);
  console.log(`adapter    ${out}, as it was after step ${adapterStep}`);
  console.log(`read back  ${checkWords(check)}`);
  session.destroy();
  node.device.destroy();
}

await main();
