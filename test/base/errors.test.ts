import { expect, it } from "vitest";
import { DataError, failure } from "../../src/base/errors.ts";

it("keeps what failed and what to do apart in a failure, where an Error's message holds both", () => {
  const thrown = new DataError("empty", "rows.jsonl has no row.", "Add one.");
  expect(thrown.message).toBe("rows.jsonl has no row. Add one.");
  expect(failure(thrown)).toEqual({
    ok: false,
    code: "empty",
    message: "rows.jsonl has no row.",
    remedy: "Add one.",
  });
  expect(failure(new DataError("empty", "rows.jsonl has no row."))).toMatchObject({
    message: "rows.jsonl has no row.",
    remedy: "",
  });
});

it("calls what nobody expected a defect of its own", () => {
  expect(failure(new TypeError("x is undefined"))).toMatchObject({
    code: "internal",
    message: "x is undefined",
  });
  expect(failure("a text")).toMatchObject({ code: "internal", message: "a text" });
});
