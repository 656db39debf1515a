import { describe, expect, it } from "vitest";
import { auditWords } from "../../src/ui/auditWords.ts";
import type { AuditedTensor, AuditReport } from "../../src/worker/api.ts";

const tensor = (name: string, change: number, rest: Partial<AuditedTensor> = {}): AuditedTensor => ({
  ...{ tensor: name, change, norm: 1, expected: "yes", because: null, verdict: "ok", ...rest },
});
const zero = { expected: "no", because: "lora_B is still zero, and no gradient passes it" } as const;

function words(tensors: AuditedTensor[], changed: string[] = []) {
  const audit = { tensors, frozen: { tensors: 30, bytes: 1000, changed } };
  const report: AuditReport = { step: 1, audit, elapsed_ms: 10 };
  return auditWords(report);
}

describe("the verdict on the first step", () => {
  it("says that what should have moved did, and nothing else", () => {
    expect(
      words([tensor("q.lora_A", 0, zero), tensor("k.lora_A", 0, zero), tensor("q.lora_B", 0.1)]),
    ).toEqual({
      isFine: true,
      verdict:
        "After step 1, 1 of 3 tensors has moved; nothing else did, the base's 30 tensors on the device are as they were.",
      faults: [],
      notes: ["2 rest: lora_B is still zero, and no gradient passes it."],
    });
  });

  it("names what should have moved, what should not have, and what of the base changed", () => {
    const { isFine, verdict, faults } = words(
      [tensor("a", 0, { verdict: "stuck" }), tensor("b", 1, { ...zero, verdict: "strayed" })],
      ["model.norm.weight"],
    );
    expect(isFine).toBe(false);
    expect(verdict).toBe("After step 1, 1 of 2 tensors has moved; something is wrong.");
    expect(faults).toEqual([
      "a should have moved, and did not.",
      "b moved, and should not have.",
      "model.norm.weight is frozen, and is no longer what it was.",
    ]);
  });

  it("names a few of many", () => {
    const many = Array.from({ length: 8 }, (_, i) => tensor(`t${i}`, 0, { verdict: "stuck" }));
    expect(words(many).faults).toHaveLength(6);
    expect(words(many).faults.at(-1)).toBe("So it is with 3 more.");
  });
});
