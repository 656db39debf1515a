/** Where the library's own interpreter would write something else than Transformers does; what it wrote is given here. */
import { describe, expect, it } from "vitest";
import { LimitError } from "../../src/data/interpreter.ts";
import { TemplateError } from "../../src/data/python.ts";
import { Template } from "../../src/data/template.ts";

const NOW = new Date("2026-03-05T14:07:09");
const VARIABLES = {
  l: [3, 1, 2],
  words: ["b", "A", null, true],
  d: { items: "key", a: 1 },
  rows: [{ k: "x" }, { v: 3 }],
  html: "<b>",
  nothing: null,
};
const render = (source: string) => new Template(source, NOW).render(VARIABLES);

describe("a template writes as in Transformers", () => {
  it.each([
    // Texts
    ["{{ 'xxaxx'.strip('x') }}|{{ 'xyaxy'.lstrip('yx') }}|{{ '\\na\\n\\n'.rstrip('\\n') }}|", "a|axy|\na|"],
    [
      "{{ '🌳a🌳🌳'.strip('🌳') }}|{{ '\\x1c a\\u00a0\\ufeff'.strip() }}|{{ '\\ufeffa ' | trim }}|",
      "a|a\u00a0\ufeff|\ufeffa|",
    ],
    ["{{ 'a🌳' | length }}{{ '🌳a'[0] }}{{ undefined_name | length }}", "2🌳0"],
    // Values written
    [
      "{{ nothing }}{{ true }}{{ 1.0 }}{{ undefined_name }}|{{ nothing | string }}{{ false | string }}",
      "NoneTrue1.0|NoneFalse",
    ],
    ["{{ 'a' ~ 1 ~ none ~ true ~ undefined_name }}|{{ words | join(',') }}", "a1NoneTrue|b,A,None,True"],
    // Comparisons and tests
    [
      "{{ none == undefined_name }}{{ '1' == 1 }}{{ 1 == true }}{{ [1, [2]] == [1, [2]] }}{{ {'a': 1} == {'a': 1} }}",
      "FalseFalseTrueTrueTrue",
    ],
    [
      "{{ none in words }}{{ [1] in [[1]] }}{{ d is iterable }}{{ undefined_name is iterable }}{{ true is number }}",
      "TrueTrueTrueTrueTrue",
    ],
    // A method comes before a key
    ["{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{{ d['items'] }}", "items=key;a=1;key"],
    // Scopes
    [
      "{% for y in l %}{% if loop.first %}{% set z = 'set' %}{% endif %}[{{ z }}]{% endfor %}{{ z }}",
      "[set][][]",
    ],
    [
      "{% macro m() %}{{ x }}{% endmacro %}{% set x = 'later' %}{{ m() }}{% for x in l %}{{ m() }}{% endfor %}",
      "laterlaterlaterlater",
    ],
    [
      "{% macro box(t) %}<{{ t }}>{{ caller() }}{% endmacro %}{% for x in l %}{% call box('b') %}{{ x }}{% endcall %}{% endfor %}",
      "<b>3<b>1<b>2",
    ],
    // What stands before a break is kept
    ["{% for x in l %}a{{ x }}{% if x == 1 %}b{% break %}{% endif %}c{% endfor %}", "a3ca1b"],
    ["{% for x in undefined_name %}a{% else %}none{% endfor %}", "none"],
    [
      "{% filter upper %}a{% if true %}b{% endif %}{% endfilter %}{% set x %}c{{ 1 }}{% endset %}{{ x }}",
      "ABc1",
    ],
    [
      "{{ strftime_now('%d %b %Y, %A %-d %B %y %m %I:%M:%S %p %H %a %%') }}",
      "05 Mar 2026, Thursday 5 March 26 03 02:07:09 PM 14 Thu %",
    ],
    [
      "{% for i in range(1, 7, 2) %}{{ i }}{% endfor %}{% for i in range(3, 0, -1) %}{{ i }}{% endfor %}",
      "135321",
    ],
    ["  {% if true %}  \n  x\n  {% endif %}\n y\r\n", "  \n  x\n y"],
  ])("%s", (source, text) => {
    expect(render(source).text).toBe(text);
  });

  it("and tells where generation blocks begin and end, white space taken as the tags say", () => {
    expect(
      render("{% generation %}a{{ l[0] }}{% endgeneration %} b {%- generation -%} c {%- endgeneration -%} d"),
    ).toEqual({ text: "a3 bcd", generated: [0, 2, 4, 5] });
    expect(render("{% for x in l %}\n{% generation %}\n{{ x }}\n{% endgeneration %}\n{% endfor %}")).toEqual({
      text: "3\n1\n2\n",
      generated: [0, 2, 2, 4, 4, 6],
    });
    expect(render("\ufdd0a\ufdd1").text).toBe("\ufdd0a\ufdd1");
  });
});

describe("a template is refused", () => {
  it.each([
    ["{{ l }}", "a list is not written here"],
    ["{{ 'a' ~ d }}", "a dict is not written here"],
    ["{{ 0.00001 }}", "the number 0.00001 is not written here"],
    ["{{ 'a' + 1 }}", "a number cannot be added to a text"],
    ["{{ html | safe + html }}", "escaped for HTML"],
    ["{{ rows | map(attribute='k') | tojson }}", "tojson takes no generator"],
    ["{{ undefined_name | tojson }}", "Undefined is not JSON"],
    ["{{ 1.0 | tojson }}", "tojson takes no number here that is 1.0"],
    ["{{ d | tojson(true) }}", "by name"],
    ["{{ rows | join('-', attribute='k') }}", "a separator alone"],
    ["{{ rows[1].k.x }}", "'rows[…].k' is undefined"],
    ["{{ 'a,b'.rsplit(',') }}", "(…).rsplit() is not known here"],
    ["{{ l | max }}", "max"],
    ["{{ -7 % 3 }}", "% takes no number below zero"],
    ["{{ 1 / 0 }}", "division by zero"],
    ["{{ strftime_now('%e') }}", 'strftime_now("%e")'],
    ["{{ raise_exception('No.') }}", "No."],
  ])("%s", (source, says) => {
    expect(() => render(source)).toThrow(TemplateError);
    expect(() => render(source)).toThrow(says);
  });

  it.each([
    ["{{ range(100001) | length }}", "100001 numbers"],
    ["{% for x in range(100000) %}0123456789 {% endfor %}", "1000000 characters"],
    ["{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "it calls itself more than 100 times"],
  ])("%s, which asks for too much", (source, says) => {
    expect(() => render(source)).toThrow(LimitError);
    expect(() => render(source)).toThrow(says);
  });
});
