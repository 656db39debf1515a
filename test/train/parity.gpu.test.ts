/**
 * Whole runs against PEFT itself. GRAFT_PARITY=all takes every run of reference/dumps, not only the core; GRAFT_PARITY_ONLY=A,B those;
 * GRAFT_EXPORT=DIR leaves each adapter there, with its logits.
 */
import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { testDevice } from "../harness/device.ts";
import { DUMPS, parityCase, replay } from "./parityRun.ts";

// 16-bit weights are decoded in the kernels, which a software device does only when told to.
const on = testDevice({ limits: "default" }, { decodesWhileLoading: false });

const cases = readdirSync(`${DUMPS}/runs`)
  .map(parityCase)
  .filter(({ core, name }) => {
    const only = process.env.GRAFT_PARITY_ONLY;
    return only ? only.split(",").includes(name) : core || process.env.GRAFT_PARITY === "all";
  });

describe("30 steps equal PEFT's", () => {
  it.each(cases)("$name: $about", async ({ name }) => {
    const errors = await replay(on.gpu, on.kernels, name, process.env.GRAFT_EXPORT);
    if (process.env.GRAFT_PARITY) console.log(name, JSON.stringify(errors));
    expect(errors.tokens).toBe(0);
    expect(errors.lr).toBeLessThan(1e-9);
    expect(errors.loss).toBeLessThan(1e-5);
    expect(errors.gradNorm).toBeLessThan(1e-4);
    for (const [kind, error] of Object.entries(errors.change)) {
      expect(error, `change of ${kind}`).toBeLessThan(1e-3);
    }
    // Nothing of the run is left on the device but what the next one shares.
    expect(on.gpu.totalBytes()).toBe(256);
  });
});
