/** After the first step: what moved, what did not, and what should not have. Faults are planted behind the engine's back. */
import { describe, expect, it } from "vitest";
import { parseLoraConfig } from "../../src/lora/config.ts";
import type { MicroBatchPlan } from "../../src/train/microBatchPlan.ts";
import type { ParameterGroup } from "../../src/train/parameterGroups.ts";
import type { AuditedTensor, AuditReport } from "../../src/train/reports.ts";
import type { RunConfig } from "../../src/train/runFile.ts";
import type { Session } from "../../src/train/session.ts";
import { testDevice } from "../harness/device.ts";
import { openParitySession, type ParityOptions } from "./parityRun.ts";

const on = testDevice({});

interface Plants {
  /** Before anything is on the device. */
  readonly planned?: (session: Session) => void;
  /** After the first step, before it is audited. */
  readonly stepped?: (session: Session) => void;
}

/** The audits of the first steps of a run. */
async function audit(
  name: string,
  change: (run: RunConfig) => void,
  { planned, stepped, ...options }: Plants & ParityOptions = {},
): Promise<AuditReport> {
  const short = (run: RunConfig): void => {
    Object.assign(run.train, { max_steps: 6 });
    change(run);
  };
  const session = await openParitySession(on.gpu, on.kernels, name, short, options);
  planned?.(session);
  await session.prepare();
  const found: AuditReport[] = [];
  await session.run(
    (report) => {
      if ("audit" in report) found.push(report);
      else if ("loss" in report && found.length === 0) stepped?.(session);
    },
    () => found.length > 0 && session.reports.length > found[0]!.step,
  );
  session.destroy();
  expect(found).toHaveLength(1);
  return found[0]!;
}

const train = (settings: Partial<RunConfig["train"]>) => (run: RunConfig) =>
  void Object.assign(run.train, settings);
const unchanged = train({});

const short = (key: string) => key.replace(/^base_model\.model\.(model|transformer)\./, "");
const faults = ({ audit }: AuditReport) => [
  ...audit.tensors
    .filter(({ verdict }) => verdict !== "ok")
    .map(({ tensor, verdict }) => `${verdict} ${short(tensor)}`),
  ...audit.frozen.changed.map((name) => `changed ${name}`),
];
const find = ({ audit }: AuditReport, ending: string): AuditedTensor =>
  audit.tensors.find(({ tensor }) => tensor.endsWith(ending))!;

describe("an audit", () => {
  it.each(["llama_requires_grad", "gpt2_whole", "qwen2_dora_bias", "gpt2_tokens", "llama_pissa"])(
    "finds nothing amiss with %s",
    async (name) => {
      const report = await audit(name, unchanged);
      expect(faults(report)).toEqual([]);
      expect(report.audit.frozen.tensors).toBeGreaterThan(5);
      expect(report.audit.tensors.some(({ change }) => change > 0)).toBe(true);
    },
  );

  it("knows that a new adapter's A waits for B, on an embedding B for A, and that decay moves them", async () => {
    const init = (more: Partial<RunConfig["train"]>) => (run: RunConfig) => {
      const { config } = parseLoraConfig({ target_modules: ["embed_tokens", "v_proj"] });
      Object.assign(run, { lora: config });
      Object.assign(run.train, more);
    };
    const fresh = await audit("llama_all_linear", init({ weight_decay: 0 }), { adapter: "none" });
    expect(faults(fresh)).toEqual([]);
    for (const ending of ["v_proj.lora_A.weight", "lora_embedding_B"])
      expect(find(fresh, ending)).toMatchObject({
        change: 0,
        expected: "no",
        because: expect.stringContaining("still zero"),
      });
    for (const ending of ["v_proj.lora_B.weight", "lora_embedding_A"]) {
      expect(find(fresh, ending).expected).toBe("yes");
      expect(find(fresh, ending).change).toBeGreaterThan(0);
    }
    const decayed = await audit("llama_all_linear", init({ weight_decay: 0.1 }), { adapter: "none" });
    expect(faults(decayed)).toEqual([]);
    expect(find(decayed, "v_proj.lora_A.weight").change).toBeGreaterThan(0);
  });

  it("waits for the first step whose learning rate is not zero", async () => {
    const warm = await audit("qwen2_param_groups", unchanged);
    expect([warm.step, faults(warm)]).toEqual([2, []]);
    const still = find(warm, "layers.0.self_attn.q_proj.lora_A.weight");
    expect(still).toMatchObject({ change: 0, expected: "no", because: "its learning rate is 0" });
  });

  it("expects nothing of tokens that were not read, nor of queries and keys that are alone", async () => {
    const unread = await audit(
      "llama_all_linear",
      (run) => {
        const { config } = parseLoraConfig({ target_modules: ["v_proj"], trainable_token_indices: [7] });
        Object.assign(run, { lora: config });
        // One token is read.
        Object.assign(run.train, {
          max_length: 2,
          per_device_train_batch_size: 1,
          gradient_accumulation_steps: 1,
        });
      },
      { adapter: "none" },
    );
    expect(faults(unread)).toEqual([]);
    expect(find(unread, "trainable_tokens_delta")).toMatchObject({
      ...{ change: 0, expected: "no", because: "none of its tokens was read" },
    });
    const lonely = await audit("llama_lonely_targets", unchanged);
    expect(faults(lonely)).toEqual([]);
    expect(find(lonely, "q_proj.lora_B.weight").expected).toBe("either");
    expect(find(lonely, "v_proj.lora_B.weight").expected).toBe("yes");
  });
});

describe("a planted fault is found:", () => {
  /** Writes into a buffer of the device. */
  const write = (buffer: GPUBuffer, offset: number, values: Float32Array<ArrayBuffer>): void =>
    on.gpu.device.queue.writeBuffer(buffer, offset, values);
  const placeOf = ({ adapted }: Session, ending: string) =>
    [...adapted.layout.tensors.values()].find(({ name }) => name.endsWith(ending))!;
  const groupsOf = ({ trainer }: Session) =>
    trainer.groups as unknown as { -readonly [Key in keyof ParameterGroup]: ParameterGroup[Key] }[];

  it("a gradient that is never computed", async () => {
    // The kernel that gives B its gradient is not launched.
    const planned = ({ trainer }: Session): void => {
      const { microBatch } = trainer as unknown as { microBatch: MicroBatchPlan };
      for (const dispatch of microBatch.plan.dispatches) {
        if (dispatch.kernel.entry === "backward_b") Object.assign(dispatch, { workgroups: () => 0 });
      }
    };
    const report = await audit("llama_one_layer", unchanged, { planned });
    expect(faults(report)).toEqual([
      "stuck layers.2.self_attn.q_proj.lora_B.weight",
      "stuck layers.2.mlp.down_proj.lora_B.weight",
    ]);
  });

  it("a group that the optimizer leaves alone", async () => {
    const planned = (session: Session): void => {
      groupsOf(session)[0]!.lr = 0;
    };
    const report = await audit("llama_one_layer", unchanged, { planned });
    expect(faults(report)).toHaveLength(report.audit.tensors.length);
  });

  it("a tensor whose group is frozen, and that moves", async () => {
    const frozen = train({ param_groups: [{ params: ".*q_proj\\.lora_A.*", lr: 0, weight_decay: null }] });
    const planned = (session: Session): void => {
      for (const group of groupsOf(session)) group.lr = 1e-3;
    };
    expect(faults(await audit("llama_one_layer", frozen))).toEqual([]);
    const report = await audit("llama_one_layer", frozen, { planned });
    expect(faults(report)).toEqual(["strayed layers.2.self_attn.q_proj.lora_A.weight"]);
    expect(find(report, "q_proj.lora_A.weight").change).toBeGreaterThan(0);
  });

  it("one number of a tensor that must wait", async () => {
    const stepped = (session: Session): void => {
      const { place } = placeOf(session, "layers.0.self_attn.v_proj.lora_A.weight");
      write(session.adapted.chunks("parameters")[place.chunk]!, place.byteOffset + 8, Float32Array.of(0.5));
    };
    const report = await audit("mistral_defaults", unchanged, { stepped });
    expect(faults(report)).toEqual(["strayed layers.0.self_attn.v_proj.lora_A.weight"]);
  });

  it("one number of a frozen weight", async () => {
    const stepped = (): void => {
      const { live } = on.gpu as unknown as { live: Map<GPUBuffer, unknown> };
      const weight = [...live.keys()].find(({ label }) => label === "model.layers.1.mlp.down_proj.weight")!;
      write(weight, 4, Float32Array.of(0.5));
    };
    const report = await audit("llama_one_layer", unchanged, { stepped });
    expect(faults(report)).toEqual(["changed model.layers.1.mlp.down_proj.weight"]);
  });
});
