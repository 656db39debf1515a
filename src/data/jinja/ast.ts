/** A chat template as @huggingface/jinja's parser gives it: its nodes, as far as they are read here. */
import { parse, tokenize } from "@huggingface/jinja";

export interface Identifier {
  readonly type: "Identifier";
  readonly value: string;
}

export interface KeywordArgument {
  readonly type: "KeywordArgumentExpression";
  readonly key: Identifier;
  readonly value: Expression;
}

export interface Call {
  readonly type: "CallExpression";
  readonly callee: Expression;
  readonly args: readonly Argument[];
}

export interface Slice {
  readonly type: "SliceExpression";
  readonly start?: Expression;
  readonly stop?: Expression;
  readonly step?: Expression;
}

export interface Member {
  readonly type: "MemberExpression";
  readonly object: Expression;
  readonly property: Expression | Slice;
  /** `object[property]`, else `object.property`. */
  readonly computed: boolean;
}

export interface Tuple {
  readonly type: "TupleLiteral";
  readonly value: readonly Expression[];
}

export interface Select {
  readonly type: "SelectExpression";
  readonly lhs: Expression;
  readonly test: Expression;
}

export type Filter = Identifier | Call;

export type Expression =
  | Identifier
  | Call
  | Member
  | Tuple
  | Select
  | { readonly type: "IntegerLiteral" | "FloatLiteral"; readonly value: number }
  | { readonly type: "StringLiteral"; readonly value: string }
  | { readonly type: "ArrayLiteral"; readonly value: readonly Expression[] }
  | { readonly type: "ObjectLiteral"; readonly value: ReadonlyMap<Expression, Expression> }
  | {
      readonly type: "BinaryExpression";
      readonly operator: { readonly value: string };
      readonly left: Expression;
      readonly right: Expression;
    }
  | {
      readonly type: "UnaryExpression";
      readonly operator: { readonly value: string };
      readonly argument: Expression;
    }
  | { readonly type: "FilterExpression"; readonly operand: Expression; readonly filter: Filter }
  | {
      readonly type: "TestExpression";
      readonly operand: Expression;
      readonly negate: boolean;
      readonly test: Identifier;
    }
  | {
      readonly type: "Ternary";
      readonly condition: Expression;
      readonly trueExpr: Expression;
      readonly falseExpr: Expression;
    };

export type Argument =
  | Expression
  | KeywordArgument
  | { readonly type: "SpreadExpression"; readonly argument: Expression }
  | { readonly type: "KeywordSpreadExpression"; readonly argument: Expression };

export type Parameter = Identifier | KeywordArgument;

export interface For {
  readonly type: "For";
  readonly loopvar: Identifier | Tuple;
  readonly iterable: Expression;
  readonly body: readonly Statement[];
  readonly defaultBlock: readonly Statement[];
}

export interface Assignment {
  readonly type: "Set";
  readonly assignee: Expression;
  readonly value: Expression | null;
  readonly body: readonly Statement[];
}

export interface Macro {
  readonly type: "Macro";
  readonly name: Identifier;
  readonly args: readonly Parameter[];
  readonly body: readonly Statement[];
}

export interface CallBlock {
  readonly type: "CallStatement";
  readonly call: Call;
  readonly callerArgs: readonly Parameter[] | null;
  readonly body: readonly Statement[];
}

export type Statement =
  | Expression
  | For
  | Assignment
  | Macro
  | CallBlock
  | {
      readonly type: "If";
      readonly test: Expression;
      readonly body: readonly Statement[];
      readonly alternate: readonly Statement[];
    }
  | { readonly type: "FilterStatement"; readonly filter: Filter; readonly body: readonly Statement[] }
  | { readonly type: "Break" | "Continue" | "Comment" };

/** What a `{% generation %}` block calls; no name that a template could write. */
export const GENERATION = "__generation__";

const GENERATION_OPEN = /\{%([-+]?)\s*generation\s*([-+]?)%\}/g;
const GENERATION_CLOSE = /\{%([-+]?)\s*endgeneration\s*([-+]?)%\}/g;

/** Whether a template marks what the assistant wrote. */
export function marksGeneration(source: string): boolean {
  return source.search(GENERATION_OPEN) >= 0;
}

/** Parses a template as Transformers' environment does: trim_blocks, lstrip_blocks, loop controls, generation. */
export function parseTemplate(source: string): readonly Statement[] {
  // The library drops the generation tags. Transformers makes a call block of them, and so does this.
  const blocks = source
    .replace(/\r\n?/g, "\n")
    .replace(GENERATION_OPEN, `{%$1 call ${GENERATION}() $2%}`)
    .replace(GENERATION_CLOSE, "{%$1 endcall $2%}");
  const tokens = tokenize(blocks, { trim_blocks: true, lstrip_blocks: true });
  return (parse(tokens) as unknown as { body: readonly Statement[] }).body;
}
