import { Button, Callout, TextArea } from "@radix-ui/themes";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import type { DataFacts } from "../worker/api.ts";
import { Chooser } from "./Chooser.tsx";
import { factsWords } from "./dataWords.ts";
import { severalFiles, wholeFolder } from "./files.ts";
import { counted } from "./format.ts";
import { HeldOut } from "./HeldOut.tsx";
import { FormatChoice, Mapping } from "./Mapping.tsx";
import { Problem } from "./Problem.tsx";
import type { PageState } from "./pageState.ts";
import { RowList } from "./RowList.tsx";

interface StoreProps {
  readonly store: StoreApi<PageState>;
}

const ACCEPTED = ".jsonl,.ndjson,.json,.csv,.tsv,.parquet,.txt,.md";

/** Text and files of the user's own, and how they are read. */
export function OwnData({ store }: StoreProps) {
  const { data, text } = useStore(store, (state) => state.choices);
  const facts = useStore(store, (state) => state.facts);
  const problem = useStore(store, (state) => state.dataProblem);
  const choose = useStore(store, (state) => state.choose);
  const files = data.kind === "files" ? data.files : [];
  const chosen = files.length > 1 ? `${files.length} files: ${files[0]!.name}, …` : files[0]?.name;
  return (
    <>
      <TextArea
        aria-label="Text"
        rows={files.length > 0 ? 2 : 6}
        placeholder="Paste text, JSON Lines, or a table with a line of column names."
        value={text}
        onChange={({ target }) => choose({ text: target.value, data: { kind: "written" } })}
      />
      <Chooser
        title="Data files"
        hint="Or drop or choose files: JSONL, JSON, CSV, TSV, Parquet, text."
        accept={ACCEPTED}
        multiple
        chosen={chosen}
        reader={severalFiles}
        onChoose={(given) => choose({ data: { kind: "files", files: given } })}
        onClear={() => choose({ data: { kind: "written" } })}
      />
      {files.length === 0 && (
        <Chooser
          title="Folder"
          optional
          hint="All files of rows or texts in it."
          chosen={undefined}
          reader={wholeFolder}
          onChoose={({ files: inside }) => choose({ data: { kind: "files", files: rowFilesOf(inside) } })}
        />
      )}
      {facts && <p className="small">{factsWords(facts)}</p>}
      <Amiss store={store} />
      {facts && facts.shape === undefined && <Mapping store={store} key={facts.columns.join()} />}
      {!facts && problem && <FormatChoice store={store} />}
      {facts && facts.preview.length > 0 && <RowList rows={facts.preview} />}
      {facts && facts.shape !== undefined && (
        <details open={facts.shape.kind === "mapping"}>
          <summary>How they are read</summary>
          <div className="advanced">
            <FormatChoice store={store} />
            <Mapping store={store} key={facts.columns.join()} />
          </div>
        </details>
      )}
      {facts && facts.shape !== undefined && <HeldOut store={store} />}
    </>
  );
}

/** Of a folder, files of rows and texts; all of them where none is called so: the worker then says what is wrong. */
function rowFilesOf(files: readonly File[]): readonly File[] {
  const accepted = ACCEPTED.split(",");
  const known = files.filter(({ name }) => accepted.some((ending) => name.toLowerCase().endsWith(ending)));
  return (known.length > 0 ? known : [...files]).toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** What is wrong with the rows, and what can be done about it with one press. */
function Amiss({ store }: StoreProps) {
  const facts = useStore(store, (state) => state.facts);
  const problem = useStore(store, (state) => state.dataProblem);
  const skips = useStore(store, ({ choices }) => choices.skipsFaulty);
  const { choose } = store.getState();
  const isFaulty = facts !== undefined && facts.faultCount > 0 && facts.shape !== undefined;
  return (
    <>
      {problem && (facts?.shape || !facts) && (
        <Problem title="The rows cannot be used as they are" failure={problem} />
      )}
      {problem && facts && !facts.shape && (
        <Callout.Root size="1" color="amber" role="note" className="callout">
          <strong>Say what the columns mean</strong>
          <p>
            {facts.guess
              ? "Their names are none that are known. What they probably mean stands below."
              : "Their names are none that are known. Write below what a row is made of."}
          </p>
        </Callout.Root>
      )}
      {isFaulty && !skips && facts.train > 0 && (
        <Button size="1" variant="soft" onClick={() => choose({ skipsFaulty: true })}>
          Go on with the {counted(facts.train + (facts.heldOut ?? 0), "row")} that can be used
        </Button>
      )}
      {isFaulty && <Faults facts={facts} skips={skips} />}
      {facts && <Twice store={store} facts={facts} />}
      {facts && facts.replacedSurrogates > 0 && (
        <p className="quiet small">{facts.replacedSurrogates} half characters were replaced by \ufffd.</p>
      )}
    </>
  );
}

function Faults({ facts: { faults, faultCount }, skips }: { facts: DataFacts; skips: boolean }) {
  return (
    <details open={!skips}>
      <summary>
        {counted(faultCount, "row")} {skips ? "left out" : "cannot be used"}
      </summary>
      <ul className="faults small">
        {faults.map(({ message }) => (
          <li key={message}>{message}</li>
        ))}
        {faultCount > faults.length && <li>and {faultCount - faults.length} more</li>}
      </ul>
    </details>
  );
}

function Twice({ store, facts: { duplicates, leaks } }: StoreProps & { facts: DataFacts }) {
  const { editData } = store.getState();
  return (
    <>
      {duplicates > 0 && (
        <p className="small line">
          <span>
            {duplicates === 1 ? "1 row says" : `${counted(duplicates, "row")} say`} what an earlier one says.
          </span>
          <Button size="1" variant="soft" onClick={() => void editData({ kind: "remove-duplicates" })}>
            Remove duplicates
          </Button>
        </p>
      )}
      {leaks > 0 && (
        <p className="small line">
          <span>
            {leaks === 1 ? "1 trained row is" : `${counted(leaks, "row")} are trained on and`} held out, too.
          </span>
          <Button size="1" variant="soft" onClick={() => void editData({ kind: "remove-leaks" })}>
            Remove them from training
          </Button>
        </p>
      )}
    </>
  );
}
