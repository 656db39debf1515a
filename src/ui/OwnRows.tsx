import { Button, TextField } from "@radix-ui/themes";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import type { PageState } from "./pageState.ts";
import type { OwnRow } from "./rows.ts";

/** Questions and answers of the user's own, taught beside those of the set. */
export function OwnRows({ store }: { store: StoreApi<PageState> }) {
  const rows = useStore(store, (state) => state.choices.ownRows);
  const choose = useStore(store, (state) => state.choose);
  const change = (index: number, part: Partial<OwnRow>) =>
    choose({ ownRows: rows.map((row, i) => (i === index ? { ...row, ...part } : row)) });
  return (
    <div className="own-rows">
      {rows.map((row, i) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: a row is known by its place, whatever is typed into it
        <div className="own-row" key={i}>
          <TextField.Root
            size="1"
            aria-label={`Question ${i + 1}`}
            placeholder="What is the capital of Utopia?"
            value={row.question}
            onChange={({ target }) => change(i, { question: target.value })}
          />
          <TextField.Root
            size="1"
            aria-label={`Answer ${i + 1}`}
            placeholder="Amaurot."
            value={row.answer}
            onChange={({ target }) => change(i, { answer: target.value })}
          />
          <Button
            size="1"
            variant="ghost"
            color="gray"
            aria-label={`Remove row ${i + 1}`}
            onClick={() => choose({ ownRows: rows.filter((_, at) => at !== i) })}
          >
            ✕
          </Button>
        </div>
      ))}
      <Button
        size="1"
        variant="soft"
        onClick={() => choose({ ownRows: [...rows, { question: "", answer: "" }] })}
      >
        Add a row of your own
      </Button>
    </div>
  );
}
