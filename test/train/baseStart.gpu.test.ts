/** Adapters that begin as a part of the base's weights: pissa and olora. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { openDirectory } from "../../src/cli/files.ts";
import { startTemplateThread } from "../../src/cli/templates.ts";
import { bytesFileSet } from "../../src/formats/sources.ts";
import { BLOCK_BYTES } from "../../src/gpu/device.ts";
import { logitsOf } from "../../src/train/logits.ts";
import { openBase } from "../../src/train/openBase.ts";
import type { StepReport } from "../../src/train/reports.ts";
import type { RunConfig } from "../../src/train/runFile.ts";
import { largestDifference } from "../../src/train/selfCheck.ts";
import { AdapterShelf, type AdapterUse } from "../../src/train/shelf.ts";
import { testDevice } from "../harness/device.ts";
import { DUMPS, openParitySession, parityCase } from "./parityRun.ts";

const on = testDevice();

const ids = Uint32Array.of(5, 9, 17, 3, 44, 9);

/** PEFT's run of the same name. */
function expectedSteps(name: string): StepReport[] {
  const lines = readFileSync(`${DUMPS}/runs/${name}/metrics.jsonl`, "utf8").trim().split("\n");
  return lines.map((line) => JSON.parse(line) as StepReport);
}

describe("a run that begins by itself", () => {
  it.each(["mistral_olora", "qwen3_pissa_dora"])("takes the steps of PEFT's: %s", async (name) => {
    const session = await openParitySession(on.gpu, on.kernels, name, () => {}, { adapter: "none" });
    await session.prepare();
    await session.run(() => {});
    const wanted = expectedSteps(name);
    session.reports.forEach(({ loss, grad_norm }, i) => {
      expect(Math.abs(loss / wanted[i]!.loss - 1), `loss of step ${i + 1}`).toBeLessThan(1e-5);
      expect(Math.abs(grad_norm / wanted[i]!.grad_norm - 1), `gradient of step ${i + 1}`).toBeLessThan(1e-4);
    });
    expect(session.reports.length).toBe(wanted.length);
    session.destroy();
  });

  it.each(["llama_pissa", "mistral_olora"])(
    "is the base while nothing is dropped; in training what was taken out of it is not dropped, as in PEFT: %s",
    async (name) => {
      const firstStep = async (lora_dropout: number) => {
        const change = ({ lora, train }: RunConfig) => {
          Object.assign(lora, { lora_dropout });
          Object.assign(train, { max_steps: 1 });
        };
        const session = await openParitySession(on.gpu, on.kernels, name, change, { adapter: "none" });
        const before = await session.logits(ids);
        await session.prepare();
        await session.run(() => {});
        const { loss } = session.reports[0]!;
        session.destroy();
        return { before, loss };
      };
      const [whole, dropped] = [await firstStep(0), await firstStep(0.5)];
      expect(dropped.before).toEqual(whole.before);
      // Dropped alike on both sides it would cancel, and the loss be that of the base.
      expect(Math.abs(dropped.loss / whole.loss - 1)).toBeGreaterThan(1e-3);
    },
  );

  it("can be stopped while it computes what it begins as, goes on with the next module, and takes the memory that was foretold", async () => {
    const session = await openParitySession(on.gpu, on.kernels, "llama_pissa", () => {}, { adapter: "none" });
    const told: string[] = [];
    const isStopped = () => told.length === 3;
    const tell = (done: number, total: number) => void told.push(`${done} of ${total}`);
    expect(await session.adapted.begin(tell, isStopped)).toBe(false);
    expect(told).toEqual(["0 of 10", "1 of 10", "2 of 10"]);
    expect(on.gpu.totalBytes()).toBe(BLOCK_BYTES);
    expect(await session.prepare()).toBe(true);
    const { adapter, optimizer } = session.summary.memory;
    expect([on.gpu.bytes.get("adapter"), on.gpu.bytes.get("optimizer")]).toEqual([adapter, optimizer]);
    session.destroy();
  });
});

describe("the head of a tied embedding", () => {
  it.each(["pissa", "olora"])(
    "may begin as a part of it, which leaves the embedding; PEFT's file that took the start out of both is refused: %s",
    async (init_lora_weights) => {
      const base = await openBase(on.gpu, on.kernels, await openDirectory(`${DUMPS}/bases/llama_tied`));
      const shelf = new AdapterShelf(base, startTemplateThread);
      const answering = async (uses: readonly AdapterUse[]) => {
        const model = await shelf.model(uses);
        const found = await logitsOf(model, ids);
        model.destroy();
        return found;
      };
      const bare = await answering([]);
      const change = ({ lora, train }: RunConfig) => {
        Object.assign(lora, { init_lora_weights, target_modules: ["q_proj", "lm_head"], r: 4 });
        Object.assign(train, { max_steps: 2, learning_rate: 0.02 });
      };
      const session = await openParitySession(on.gpu, on.kernels, "llama_all_linear", change, {
        ...{ adapter: "none", base: "llama_tied", opened: base },
      });
      expect(await session.logits(ids)).toEqual(bare);
      await session.prepare();
      await session.run(() => {});
      const tuned = await session.logits(ids);
      expect(largestDifference(bare, tuned)).toBeGreaterThan(0.01);
      expect(await answering([])).toEqual(bare);

      const files = await session.files({ baseModel: null, dataset: "rows", device: null });
      const plain = await shelf.open(bytesFileSet("plain", files));
      expect(plain.config).toMatchObject({ init_lora_weights: true, r: 8 });
      expect(largestDifference(await answering([{ id: plain.id, strength: 1 }]), tuned)).toBeLessThan(2e-6);
      const config = new TextEncoder().encode(JSON.stringify({ ...plain.config, init_lora_weights }));
      const unconverted = bytesFileSet("unconverted", new Map(files).set("adapter_config.json", config));
      const { fit } = await shelf.open(unconverted);
      expect(fit).toMatchObject({ ok: false, code: "start-unknown" });
      expect(fit).toMatchObject({ message: expect.stringContaining("PEFT takes the start out of both") });
      session.destroy();
      base.frozen.destroy();
    },
  );
});

describe("PEFT's own file of such an adapter", () => {
  it.each(["llama_pissa", "gpt2_pissa", "qwen2_olora", "qwen3_pissa_over"])(
    "does on the base what it did when it was trained: %s",
    async (name) => {
      const base = await openBase(
        on.gpu,
        on.kernels,
        await openDirectory(`${DUMPS}/bases/${parityCase(name).base}`),
      );
      const shelf = new AdapterShelf(base, startTemplateThread);
      const { id, fit } = await shelf.open(await openDirectory(`${DUMPS}/runs/${name}/final`));
      expect(fit.ok).toBe(true);
      const { ids: probe, logits: wanted } = JSON.parse(
        readFileSync(`${DUMPS}/runs/${name}/logits.json`, "utf8"),
      ) as { ids: number[]; logits: number[][] };
      const at = async (strength: number, of = Uint32Array.from(probe)) => {
        const model = await shelf.model([{ id, strength }]);
        const found = await logitsOf(model, of);
        model.destroy();
        return found;
      };
      const trained = wanted.map((row) => Float32Array.from(row));
      // PEFT takes the start from its weights in f32, whose singular vectors are off by up to some 1e-5.
      expect(largestDifference(await at(1), trained)).toBeLessThan(5e-5);
      const bare = await shelf.model([]);
      expect(await at(0, ids)).toEqual(await logitsOf(bare, ids));
      bare.destroy();
      // The run that goes on from it has it as a pair beside another.
      const session = await openParitySession(on.gpu, on.kernels, name, () => {}, {
        adapter: "final",
        opened: base,
      });
      expect(largestDifference(await session.logits(Uint32Array.from(probe)), await at(1))).toBeLessThan(
        2e-6,
      );
      session.destroy();
      base.frozen.destroy();
      expect(on.gpu.totalBytes()).toBe(BLOCK_BYTES);
    },
  );
});
