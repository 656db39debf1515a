/** That the bench measures the right step: were its problem or its settings off, the times would mean nothing. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { prepare, stepper } from "../../bench/contenders/graft.ts";
import { benchLosses, benchSize, makeProblem } from "../../bench/problem.ts";
import { type NodeDevice, requestNodeDevice } from "../../src/cli/device.ts";

let node: NodeDevice;
beforeAll(async () => {
  node = await requestNodeDevice();
});
afterAll(() => node.device.destroy());

describe("the bench's step", () => {
  it("has the losses that every contender must show", async () => {
    const { trainer, destroy } = await prepare(makeProblem(), node.device, {});
    const step = stepper(trainer);
    for (const loss of benchLosses) expect(Math.abs((await step()) - loss)).toBeLessThan(1e-4);
    destroy();
  });

  it("is made of the same numbers each time", () => {
    const small = { ...benchSize, layers: 1, vocabulary: 16, width: 8, inner: 12 };
    expect(makeProblem(small)).toEqual(makeProblem(small));
    expect(makeProblem(small).layers[0]!.q.a).not.toEqual(makeProblem(small).layers[0]!.k.a);
  });
});
