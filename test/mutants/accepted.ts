/** Mutants that may live, since no result of any run tells them from the shader, and why. */
export interface Accepted {
  /** Path under shaders/ without the ending. */
  readonly file: string;
  readonly fn: string;
  /** The line before and after, as the report prints them: an entry outlives the moving of lines. */
  readonly before: string;
  readonly after: string;
  readonly reason: string;
}

export const accepted: readonly Accepted[] = [];
