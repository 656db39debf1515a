import { Button, Callout } from "@radix-ui/themes";
import { type ReactNode, useState } from "react";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import type { Result, RowTokens } from "../worker/api.ts";
import { count } from "./format.ts";
import type { PageState } from "./pageState.ts";
import { fieldOf, settingOf } from "./settings.ts";

/** So many tokens are drawn at once: a row may be a book. */
const DRAWN_TOKENS = 600;

interface TokensProps {
  readonly store: StoreApi<PageState>;
  readonly tokens: Result<RowTokens> | undefined;
}

/** A row as the model reads it: what is learnt is underlined, what is cut away is struck through. */
export function Tokens({ store, tokens }: TokensProps) {
  const maxLength = useStore(store, ({ settings }) => Number(settingOf(settings, fieldOf("max_length"))));
  const mode = useStore(store, ({ settings }) => settingOf(settings, fieldOf("truncation_mode")));
  const [drawn, setDrawn] = useState(DRAWN_TOKENS);
  if (!tokens) {
    return (
      <div className="tokens">
        <h3>As tokens</h3>
        <p className="quiet">No model has read this row.</p>
      </div>
    );
  }
  if (!tokens.ok) {
    return (
      <div className="tokens">
        <h3>As tokens</h3>
        <Callout.Root size="1" color="amber" role="note" className="callout">
          <strong>This row is left out</strong>
          <p>{tokens.message}</p>
          {tokens.remedy && <p>{tokens.remedy}</p>}
        </Callout.Root>
      </div>
    );
  }
  const { ids, trained, pieces } = tokens.value;
  const [from, to] = mode === "keep_end" ? [ids.length - maxLength, ids.length] : [0, maxLength];
  const isKept = (i: number) => i >= from && i < to;
  // The first token that stays has nothing before it to be foretold from.
  const isLearnt = (i: number) => trained[i] === 1 && isKept(i) && i !== Math.max(0, from);
  const learnt = ids.reduce((sum, _, i) => sum + (isLearnt(i) ? 1 : 0), 0);
  return (
    <div className="tokens">
      <h3>As tokens</h3>
      <p className="small">
        {count(ids.length)} tokens, {count(learnt)} of them learnt
        {ids.length > maxLength ? `; ${count(ids.length - maxLength)} are cut away` : ""}.
      </p>
      <p className="small legend">
        <mark>
          <span className="token">learnt</span>
        </mark>{" "}
        <span className="token special">special</span>{" "}
        <span className="token special end">ends an answer</span>{" "}
        <del>
          <span className="token">cut away</span>
        </del>
      </p>
      <section className="token-text" aria-label="Tokens">
        {runsOf(Math.min(drawn, pieces.length), (i) =>
          isKept(i) ? (isLearnt(i) ? "learnt" : "read") : "cut",
        ).map(({ kind, start, end }) => (
          <Run key={start} kind={kind}>
            {Array.from({ length: end - start }, (_, i) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: a token is known by its place
              <Token key={start + i} tokens={tokens.value} at={start + i} />
            ))}
          </Run>
        ))}
      </section>
      {drawn < pieces.length && (
        <Button size="1" variant="soft" onClick={() => setDrawn(drawn + DRAWN_TOKENS)}>
          Show more: {count(ids.length - drawn)} tokens are left
        </Button>
      )}
    </div>
  );
}

type RunKind = "learnt" | "read" | "cut";

/** Neighbours that are treated alike. */
function runsOf(
  length: number,
  kindAt: (i: number) => RunKind,
): { kind: RunKind; start: number; end: number }[] {
  const runs: { kind: RunKind; start: number; end: number }[] = [];
  for (let i = 0; i < length; i++) {
    const kind = kindAt(i);
    const run = runs.at(-1);
    if (run?.kind === kind) run.end = i + 1;
    else runs.push({ kind, start: i, end: i + 1 });
  }
  return runs;
}

function Run({ kind, children }: { kind: RunKind; children: ReactNode }) {
  if (kind === "learnt") return <mark>{children}</mark>;
  return kind === "cut" ? <del>{children}</del> : <span>{children}</span>;
}

function Token({ tokens, at }: { tokens: RowTokens; at: number }) {
  const piece = tokens.pieces[at]!;
  const [isSpecial, isEnd] = [tokens.special[at] === 1, tokens.ends[at] === 1];
  const name = ["token", isSpecial || isEnd ? "special" : "", isEnd ? "end" : ""].filter(Boolean).join(" ");
  const title = `Token ${tokens.ids[at]}${isEnd ? ", ends an answer" : isSpecial ? ", special" : ""}`;
  return (
    <span className={name} title={title}>
      {piece === "" ? "·" : piece.replaceAll("\n", "⏎\n")}
    </span>
  );
}
