import { Button, SegmentedControl, TextArea } from "@radix-ui/themes";
import { useId, useState } from "react";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import { DATA_FORMATS, type DataFormat } from "../data/formats/reading.ts";
import type { ColumnMapping } from "../data/mapping.ts";
import { FORMAT_WORDS } from "./dataWords.ts";
import type { PageState } from "./pageState.ts";

interface StoreProps {
  readonly store: StoreApi<PageState>;
}

/** What files are, as they were found to be or as the user says. */
export function FormatChoice({ store }: StoreProps) {
  const stated = useStore(store, ({ choices }) => choices.reading.data_format ?? "auto");
  const found = useStore(store, ({ facts }) => facts?.files[0]?.format);
  const { read } = store.getState();
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id} className="small">
        Format
      </label>
      <select
        id={id}
        className="select"
        value={String(stated)}
        onChange={({ target }) => read({ data_format: target.value })}
      >
        <option value="auto">
          {found && stated === "auto" ? `Found: ${FORMAT_WORDS[found]}` : "Find out"}
        </option>
        {DATA_FORMATS.map((format: DataFormat) => (
          <option key={format} value={format}>
            {FORMAT_WORDS[format]}
          </option>
        ))}
      </select>
    </div>
  );
}

const SHOWN_COLUMNS = 20;

type Kind = "chat" | "prompt" | "text";
const PARTS: Readonly<Record<Kind, readonly string[]>> = {
  chat: ["system", "user", "assistant"],
  prompt: ["prompt", "completion"],
  text: ["text"],
};
const PART_WORDS: Readonly<Record<string, string>> = {
  system: "System (may be empty)",
  user: "User says",
  assistant: "Assistant says",
  prompt: "Prompt",
  completion: "Completion",
  text: "Text",
};

function kindOf(mapping: ColumnMapping | undefined): Kind {
  if (!mapping || "user" in mapping) return "chat";
  return "prompt" in mapping ? "prompt" : "text";
}

/** What rows are made of where columns have names of their own: small templates, with a guess to begin with. */
export function Mapping({ store }: StoreProps) {
  const columns = useStore(store, ({ facts }) => facts?.columns ?? []);
  const inUse = useStore(store, ({ facts }) =>
    facts?.shape?.kind === "mapping" ? facts.shape.mapping : undefined,
  );
  const guess = useStore(store, ({ facts }) => facts?.guess);
  const { read } = store.getState();
  const begin = inUse ?? guess;
  const [kind, setKind] = useState<Kind>(() => kindOf(begin));
  const [parts, setParts] = useState<Readonly<Record<string, string>>>(() => ({ ...begin }));
  // Where a column goes whose name is pressed: the part that was typed in last, or the first that is empty.
  const [focused, setFocused] = useState<string>();
  const id = useId();
  const target =
    focused !== undefined && PARTS[kind].includes(focused)
      ? focused
      : (PARTS[kind].find((part) => part !== "system" && !parts[part]) ?? PARTS[kind].at(-1)!);
  const mappingOf = (all: Readonly<Record<string, string>>, of: Kind) =>
    Object.fromEntries(
      PARTS[of].flatMap((part) => (part === "system" && !all.system ? [] : [[part, all[part] ?? ""]])),
    );
  const change = (next: Readonly<Record<string, string>>, of: Kind) => {
    setParts(next);
    setKind(of);
    if (inUse) read({ column_mapping: mappingOf(next, of) });
  };
  return (
    <div className="mapping">
      <SegmentedControl.Root
        size="1"
        aria-label="A row is"
        value={kind}
        onValueChange={(value) => change(parts, value as Kind)}
      >
        <SegmentedControl.Item value="chat">a chat</SegmentedControl.Item>
        <SegmentedControl.Item value="prompt">a prompt</SegmentedControl.Item>
        <SegmentedControl.Item value="text">a text</SegmentedControl.Item>
      </SegmentedControl.Root>
      {PARTS[kind].map((part) => (
        <div className="field" key={part}>
          <label htmlFor={`${id}-${part}`} className="small">
            {PART_WORDS[part]}
          </label>
          <TextArea
            id={`${id}-${part}`}
            size="1"
            rows={1}
            className="mono"
            spellCheck={false}
            value={parts[part] ?? ""}
            onFocus={() => setFocused(part)}
            onChange={({ target }) => change({ ...parts, [part]: target.value }, kind)}
          />
        </div>
      ))}
      <ul className="columns small" aria-label="Columns">
        {columns.slice(0, SHOWN_COLUMNS).map((column) => (
          <li key={column}>
            <Button
              size="1"
              variant="surface"
              color="gray"
              aria-label={`Add the column ${column}`}
              onClick={() => change({ ...parts, [target]: `${parts[target] ?? ""}{${column}}` }, kind)}
            >{`{${column}}`}</Button>
          </li>
        ))}
        {columns.length > SHOWN_COLUMNS && <li>…</li>}
      </ul>
      {inUse ? (
        <Button size="1" variant="soft" color="gray" onClick={() => read({ column_mapping: null })}>
          Go by the columns' own names
        </Button>
      ) : (
        <Button size="2" variant="soft" onClick={() => read({ column_mapping: mappingOf(parts, kind) })}>
          Use these columns
        </Button>
      )}
    </div>
  );
}
