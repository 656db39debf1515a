/** The one loader of `shaders/`: the same text for the page's worker, the headless command, tests and benches. */
import { GraftError } from "../base/errors.ts";

const files = import.meta.glob<string>("/shaders/**/*.wgsl", {
  query: "?raw",
  eager: true,
  import: "default",
});

const texts = new Map<string, string>();
for (const [path, text] of Object.entries(files)) {
  texts.set(path.slice("/shaders/".length, -".wgsl".length), text);
}

/** WGSL by its path under `shaders/` without the ending: "linear", "weights/f16". */
export const shaderText: ReadonlyMap<string, string> = texts;

/**
 * Replaces the text of a shader for kernels compiled from now on, so that a test can break a kernel and see who
 * notices. Returns a function that puts the former text back.
 */
export function setShaderText(name: string, text: string): () => void {
  const former = texts.get(name);
  if (former === undefined) {
    throw new GraftError(
      "kernel-missing",
      `There is no shaders/${name}.wgsl to replace.`,
      `Known: ${[...texts.keys()].join(", ")}.`,
    );
  }
  texts.set(name, text);
  return () => texts.set(name, former);
}
