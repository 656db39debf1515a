/** What the runner and the process that holds the device say to each other. */

/** One case of one suite, numbered as the suites list them. */
export interface CaseKey {
  readonly shader: string;
  readonly index: number;
}

export interface CaseName extends CaseKey {
  readonly name: string;
  readonly passes: readonly string[];
}

/** A text that stands in for `shaders/<file>.wgsl`. */
export interface Replacement {
  readonly file: string;
  readonly text: string;
  readonly original: string;
  /** The entry point that is broken; absent: all. The others keep their compiled kernels. */
  readonly entry?: string | undefined;
}

export interface Request extends CaseKey {
  /** Absent: the shaders as they are. */
  readonly replacement?: Replacement | undefined;
}

/** How a case ended. `refused`: the device did not take the shader, so nothing was tested. */
export type Outcome =
  | { readonly kind: "passed"; readonly elapsedMs: number; readonly pipelines: readonly string[] }
  | { readonly kind: "failed"; readonly elapsedMs: number; readonly message: string }
  | { readonly kind: "refused"; readonly message: string };

export type Report =
  | { readonly kind: "ready"; readonly cases: readonly CaseName[]; readonly device: string }
  | { readonly kind: "broken"; readonly message: string }
  | Outcome;
