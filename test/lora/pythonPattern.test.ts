import { describe, expect, it } from "vitest";
import { compilePythonPattern, escapePattern } from "../../src/lora/pythonPattern.ts";

const full = (pattern: string, text: string) => compilePythonPattern(pattern, "p").fullMatch(text);

describe("a Python pattern", () => {
  // The outcome of re.fullmatch in Python 3.11.
  it.each([
    ["a{,2}", "aa", true],
    ["a{,2}", "aaa", false],
    ["a{,2}", "a{,2}", false],
    ["(?P<n>a)b", "ab", true],
    ["a\\Z", "a", true],
    ["[]a]+", "a]", true],
    ["[^]a]", "b", true],
    ["[^]a]", "]", false],
    ["[[:alpha:]", "[", true],
    ["[a\\]]", "]", true],
    ["\\_x", "_x", true],
    ["a|b", "b", true],
    ["a|bc", "b", false],
    ["(?i)A", "a", true],
    ["(?:ab)+?", "abab", true],
    ["\\d\\w\\s", "1a ", true],
    ["[\\w.]+", "a.b", true],
    ["", "", true],
    ["", "a", false],
  ])("%s on %s", (pattern, text, expected) => {
    expect(full(pattern, text)).toBe(expected);
  });

  it.each([
    ["(?=a)b", "a lookahead"],
    ["(?!a)b", "a negative lookahead"],
    ["(?<=a)b", "a lookbehind"],
    ["(?<!a)b", "a negative lookbehind"],
    ["(?>a)b", "an atomic group"],
    ["(a)\\1", "a back-reference"],
    ["(?P<n>a)(?P=n)", "a back-reference"],
    ["(?(1)a|b)", "a conditional group"],
    ["a++", "a possessive quantifier"],
    ["(?<n>a)", "(?P<name>…)"],
    ["\\pL", "does not mean the same"],
    ["\\Qa.b\\E", "does not mean the same"],
    ["a\\", "ends in a backslash"],
    ["(a", "missing closing )"],
    ["a**", "invalid nested repetition operator"],
    ["x".repeat(3000), "at most 2000"],
  ])("%s is refused with the reason", (pattern, reason) => {
    expect(() => compilePythonPattern(pattern, "lora.target_modules")).toThrow(reason);
    expect(() => compilePythonPattern(pattern, "lora.target_modules")).toThrow(
      /^lora\.target_modules: the pattern/,
    );
  });

  it("matches from the start, and gives a named group", () => {
    const pattern = compilePythonPattern("a(?P<rest>b+)", "p");
    expect(pattern.match("abbc")).toBe(true);
    expect(pattern.match("cab")).toBe(false);
    expect(pattern.matchGroup("abbc", "rest")).toBe("bb");
    expect(pattern.matchGroup("c", "rest")).toBeUndefined();
  });

  it("can be made of a name", () => {
    expect(full(escapePattern("a.b[0]+(c)"), "a.b[0]+(c)")).toBe(true);
    expect(full(escapePattern("a.b"), "axb")).toBe(false);
  });
});
