/** Small templates against what Transformers' Jinja made of them (reference/jinja_dump.py). */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Json } from "../../src/base/json.ts";
import { Limits } from "../../src/data/jinja/limits.ts";
import { Template } from "../../src/data/jinja/template.ts";
import { fromJson } from "../../src/data/jinja/values.ts";

const fixture = JSON.parse(readFileSync(new URL("fixtures/jinja.json", import.meta.url), "utf8")) as {
  now: string;
  variables: Record<string, Json>;
  cases: { template: string; text?: string; generated?: number[]; error?: string }[];
};
const variables = Object.fromEntries(
  Object.entries(fixture.variables).map(([name, value]) => [name, fromJson(value)]),
);
const render = (source: string, limits?: Limits) =>
  new Template(source, new Date(fixture.now)).render(variables, limits);
const characters = (text: string, place: number): number => [...text.slice(0, place)].length;

/** What Transformers renders and Graft refuses: its parser does not know the form, or the method is not built. */
const REFUSED: readonly string[] = ["{{ 1e0 if false else 1.0 }}", "{{ '%5d' % 3 }}"];

describe("a template", () => {
  it.each(
    fixture.cases.filter(({ error }) => error === undefined).map((one) => [one.template, one] as const),
  )("%s is rendered as by Transformers", (template, { text, generated }) => {
    if (REFUSED.includes(template)) {
      expect(() => render(template)).toThrow();
      return;
    }
    const found = render(template);
    expect(found.text).toBe(text);
    expect(found.generated.map((place) => characters(found.text, place))).toEqual(generated);
  });

  it.each(
    fixture.cases.filter(({ error }) => error !== undefined).map((one) => [one.template, one] as const),
  )("%s is refused, as by Transformers", (template) => {
    expect(() => render(template)).toThrow();
  });
});

describe("what a template may cost", () => {
  it.each([
    ["time", "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}"],
    ["size", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"],
    ["size", "{{ range(1000000000) }}"],
    ["size", "{{ 'x' * 2000000 }}"],
    ["size", "{{ [1] * 2000000 }}"],
    ["size", "{{ ('x' * 100000) | replace('x', 'y' * 1000) }}"],
    ["size", "{{ ('x' * 1000).replace('', 'y' * 100000) }}"],
    ["size", "{{ ('\\n' * 1000) | indent(100000, blank=true) }}"],
    ["size", "{{ (['x'] * 1000) | join('y' * 10000) }}"],
    ["size", "{{ ('y' * 10000).join(['x'] * 1000) }}"],
    ["size", "{{ 'x'.rjust(1000000000) }}"],
    ["size", "{% for a in range(100000) %}{{ 'x' * 100 }}{% endfor %}"],
    ["size", "{% set x %}{% for a in range(100000) %}{{ 'x' * 100 }}{% endfor %}{% endset %}"],
  ])("is limited in %s: %s", (limit, source) => {
    const start = performance.now();
    expect(() => render(source, new Limits(limit === "time" ? 100 : 10_000))).toThrow(
      expect.objectContaining({ limit }),
    );
    expect(performance.now() - start).toBeLessThan(20_000);
  });
});
