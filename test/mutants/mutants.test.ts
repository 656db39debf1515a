import { describe, expect, it } from "vitest";
import { shaderText } from "../../src/gpu/shaders.ts";
import { accepted } from "./accepted.ts";
import { choose } from "./choose.ts";
import { blankComments, entriesReaching, functionsOf } from "./functions.ts";
import { type Kind, kinds, type Mutant, mutantsOf } from "./mutate.ts";
import { type Fate, report } from "./report.ts";

const shader = `// a * b: no mutant of a remark
@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;
const LANES = 64u;
const LOWEST = 16.0;

fn half(v: f32) -> f32 {
  return 0.5 * v; // v - v
}

@compute @workgroup_size(LANES)
fn forward(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= params.count) {
    return;
  }
  workgroupBarrier();
  y[i] = select(vec4f(), vec4f(-half(x[i])), i < 3u);
}

@compute @workgroup_size(64)
fn backward() {
  y[0].x += 1e-5;
}
`;

const mutants = mutantsOf("relu", shader);
const changes = (kind: Kind, fn: string): string[] =>
  mutants.filter((mutant) => mutant.kind === kind && mutant.fn === fn).map(({ after }) => after);

describe("a mutant", () => {
  it("is one of an operator", () => {
    expect(changes("operator", "half")).toEqual(["return 0.5 + v; // v - v"]);
    expect(changes("operator", "forward")).toEqual(["y[i] = select(vec4f(), vec4f(half(x[i])), i < 3u);"]);
    expect(changes("operator", "backward")).toEqual(["y[0].x -= 1e-5;"]);
  });
  it("is one of a bound", () => {
    expect(changes("bound", "forward")).toEqual([
      "if (i > params.count) {",
      "y[i] = select(vec4f(), vec4f(-half(x[i])), i <= 3u);",
    ]);
  });
  it("is one of an index, or of a component", () => {
    expect(changes("index", "forward")).toEqual([
      "let i = id.y;",
      "y[i + 1u] = select(vec4f(), vec4f(-half(x[i])), i < 3u);",
      "y[i] = select(vec4f(), vec4f(-half(x[i + 1u])), i < 3u);",
    ]);
    expect(changes("index", "backward")).toEqual(["y[1].x += 1e-5;", "y[0].y += 1e-5;"]);
  });
  it("is one of a scale, or of a constant that is no workgroup's size", () => {
    expect(changes("scale", "half")).toEqual(["return 0.55 * v; // v - v", "return 0.5; // v - v"]);
    expect(changes("scale", "backward")).toEqual(["y[0].x += 0.000011;"]);
    expect(changes("scale", "")).toEqual(["const LOWEST = 17.6;"]);
  });
  it("is one of a statement, which still names its buffers, and never of a barrier", () => {
    expect(changes("statement", "forward")).toEqual(["", "_ = &y; _ = &x;"]);
  });
  it("is one of a condition", () => {
    expect(changes("condition", "forward")).toEqual([
      "if (!(i >= params.count)) {",
      "y[i] = select(vec4f(-half(x[i])), vec4f(), i < 3u);",
    ]);
  });
  it("differs from the shader in one place, which its line names", () => {
    for (const { text, line } of mutants) {
      const before = shader.split("\n");
      const after = text.split("\n");
      expect(after).toHaveLength(before.length);
      expect(after.flatMap((one, i) => (one === before[i] ? [] : [i + 1]))).toEqual([line]);
    }
  });
});

describe("the functions of a shader", () => {
  it("are told from entry points, and know who reaches them", () => {
    const code = blankComments(shader);
    expect(functionsOf(code).map(({ name, entry }) => [name, entry])).toEqual([
      ["half", false],
      ["forward", true],
      ["backward", true],
    ]);
    expect(entriesReaching(code).get("half")).toEqual(new Set(["forward"]));
  });
});

describe("the choice", () => {
  it("is the same for a seed, another for another, and never more than asked for", () => {
    const text = shaderText.get("lora")!;
    const all = mutantsOf("lora", text);
    const counts = { entry: 6, part: 2 };
    const chosen = choose(all, text, counts, 1);
    expect(choose(all, text, counts, 1)).toEqual(chosen);
    expect(choose(all, text, counts, 2)).not.toEqual(chosen);
    for (const { name } of functionsOf(blankComments(text)).filter(({ entry }) => entry)) {
      expect(chosen.filter(({ fn }) => fn === name)).toHaveLength(6);
    }
  });
  it.each([...shaderText])("takes every kind that a pass of %s allows", (file, text) => {
    const all = mutantsOf(file, text);
    const chosen = choose(all, text, { entry: kinds.length, part: 1 }, 1);
    for (const { name, entry } of functionsOf(blankComments(text))) {
      const kindsOf = (list: readonly Mutant[]) =>
        new Set(list.filter(({ fn }) => fn === name).map(({ kind }) => kind));
      if (entry) expect(kindsOf(chosen)).toEqual(kindsOf(all));
      else expect(kindsOf(chosen).size).toBe(Math.min(1, kindsOf(all).size));
    }
  });
});

describe("the report", () => {
  const [first] = mutants as [Mutant];
  const { file, fn, before, after } = first;
  const entry = { file, fn, before, after, reason: "it is so" };
  const judged = (fate: Fate, others = 99) => [
    { mutant: first, fate },
    ...mutants
      .slice(1, 2)
      .flatMap((mutant) => Array.from({ length: others }, () => ({ mutant, fate: "dead" as const }))),
  ];
  it("is content with dead mutants, and with few that live for a reason", () => {
    expect(report(judged("dead"), mutants, []).complaints).toEqual([]);
    expect(report(judged("live"), mutants, [entry]).complaints).toEqual([]);
  });
  it("wants a reason for each that lives", () => {
    expect(report(judged("live"), mutants, []).complaints).toEqual([
      expect.stringContaining("without a reason"),
    ]);
  });
  it("wants few to live, and does not count those that do not compile", () => {
    expect(report(judged("live", 32), mutants, [entry]).complaints).toEqual([
      expect.stringContaining("3.0 %"),
    ]);
    const refused = [...judged("live", 32), ...judged("refused", 0), ...judged("refused", 0)];
    expect(report(refused, mutants, [entry]).complaints).toHaveLength(1);
  });
  it("wants no reason for what is not there, or does not live", () => {
    expect(report(judged("dead"), mutants, [entry]).complaints).toEqual([
      expect.stringContaining("does not live any more"),
    ]);
    expect(report(judged("dead"), mutants, [{ ...entry, after: "x" }]).complaints).toEqual([
      expect.stringContaining("no such mutant"),
    ]);
    expect(report([], mutants, [entry]).complaints).toEqual([]);
  });
});

describe("the list of accepted mutants", () => {
  it.each(accepted)(
    "names one that can be made: $file $fn: $after",
    ({ file, fn, before, after, reason }) => {
      const found = mutantsOf(file, shaderText.get(file) ?? "").filter(
        (mutant) => mutant.fn === fn && mutant.before === before && mutant.after === after,
      );
      expect(found.length).toBeGreaterThan(0);
      expect(reason.length).toBeGreaterThan(20);
    },
  );
});
