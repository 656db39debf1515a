import { Switch, TextField } from "@radix-ui/themes";
import { useId, useState } from "react";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import { Chooser } from "./Chooser.tsx";
import { severalFiles } from "./files.ts";
import { HELD_OUT_SHARE, heldOutShare } from "./material.ts";
import type { PageState } from "./pageState.ts";

/** Rows that are measured and never trained on: a share, which the seed chooses, or files of their own. */
export function HeldOut({ store }: { store: StoreApi<PageState> }) {
  const choices = useStore(store, (state) => state.choices);
  const rowCount = useStore(store, ({ facts }) => (facts ? facts.train + (facts.heldOut ?? 0) : undefined));
  const { choose, read } = store.getState();
  const id = useId();
  const { heldOut } = choices;
  const share = heldOutShare(choices, rowCount);
  return (
    <>
      {!heldOut && (
        <div className="line small">
          <Switch
            id={id}
            size="1"
            checked={share !== null}
            onCheckedChange={(on) => read({ eval_split: on ? HELD_OUT_SHARE : null })}
          />
          <label htmlFor={id}>Hold out</label>
          <ShareField share={share ?? HELD_OUT_SHARE} onShare={(eval_split) => read({ eval_split })} />
          <span>% of the rows, to measure</span>
        </div>
      )}
      {(share === null || heldOut) && (
        <Chooser
          title="Held-out rows"
          optional
          hint="Files of rows that are measured and never trained on."
          multiple
          chosen={heldOut?.map(({ name }) => name).join(", ")}
          reader={severalFiles}
          onChoose={(files) => choose({ heldOut: files })}
          onClear={() => choose({ heldOut: undefined })}
        />
      )}
    </>
  );
}

/** In percent; what is no share stays as it was typed until it is left. */
function ShareField({ share, onShare }: { share: number; onShare: (share: number) => void }) {
  const [typed, setTyped] = useState<string>();
  const type = (text: string) => {
    setTyped(text);
    const given = Number(text) / 100;
    if (given > 0 && given < 1) onShare(given);
  };
  return (
    <TextField.Root
      size="1"
      className="share"
      aria-label="Held-out share in percent"
      inputMode="decimal"
      value={typed ?? String(Number((100 * share).toPrecision(6)))}
      onChange={({ target }) => type(target.value)}
      onBlur={() => setTyped(undefined)}
    />
  );
}
