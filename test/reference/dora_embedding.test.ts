import { expect, it } from "vitest";
import { relativeError, sequence } from "../harness/differences.ts";
import { tableNorms } from "./dora_embedding.ts";

it("is the norm of each column of W + s·(B·A)ᵀ", () => {
  const [count, width, rank, scale] = [5, 3, 2, 0.5];
  const table = sequence(count * width, 1);
  const [a, b] = [sequence(rank * count, 2), sequence(width * rank, 3)];
  const squares = new Float64Array(width);
  table.forEach((value, i) => {
    const [id, feature] = [Math.floor(i / width), i % width];
    let change = 0;
    for (let j = 0; j < rank; j++) change += b[feature * rank + j]! * a[j * count + id]!;
    squares[feature]! += (value + scale * change) ** 2;
  });
  const found = tableNorms(table, { rank, scale, a, b }, { count, width });
  expect(relativeError(found, squares.map(Math.sqrt))).toBeLessThan(1e-14);
});
