import { Badge, Button, Card } from "@radix-ui/themes";
import { useEffect, useId, useRef, useState } from "react";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import type { ExportChoice, Exported, ExportFormat, Failure, Progress } from "../worker/api.ts";
import { Copyable } from "./Copyable.tsx";
import { save, zipped } from "./download.ts";
import { checkWords, exportWords } from "./exportWords.ts";
import { bytes } from "./format.ts";
import { Problem } from "./Problem.tsx";
import { PROGRESS_WORDS } from "./progressWords.ts";
import { modelName, type PageState } from "./store.ts";

interface StoreProps {
  readonly store: StoreApi<PageState>;
}

interface ExportsProps extends StoreProps {
  readonly onClose: () => void;
}

/** What was trained, in every form that other tools read: a dialog, open for as long as it is here. */
export function Exports({ store, onClose }: ExportsProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [choices, setChoices] = useState<readonly ExportChoice[]>();
  const [problem, setProblem] = useState<Failure>();
  const title = useId();
  useEffect(() => {
    dialog.current?.showModal();
    let isCurrent = true;
    void store
      .getState()
      .exportChoices()
      .then((result) => {
        if (!isCurrent) return;
        if (result.ok) setChoices(result.value);
        else setProblem(result);
      });
    return () => {
      isCurrent = false;
      store.getState().stopExport();
    };
  }, [store]);
  // The browser's own dialog needs no styles that the page's policy forbids.
  return (
    <dialog ref={dialog} className="exports" aria-labelledby={title} onClose={onClose}>
      <h2 id={title}>Take it along</h2>
      <p>
        Every file is read back and run before it is yours: its logits must be those of the model that was
        trained.
      </p>
      {problem && <Problem title="That cannot be exported" failure={problem} />}
      {!problem && !choices && <p className="quiet">Looking at what each form would hold…</p>}
      {choices && <Choices store={store} choices={choices} onProblem={setProblem} />}
      <Button variant="soft" color="gray" onClick={() => dialog.current?.close()}>
        Close
      </Button>
    </dialog>
  );
}

interface ChoicesProps extends StoreProps {
  readonly choices: readonly ExportChoice[];
  readonly onProblem: (problem: Failure | undefined) => void;
}

function Choices({ store, choices, onProblem }: ChoicesProps) {
  const [made, setMade] = useState<Exported>();
  const [making, setMaking] = useState<ExportFormat>();
  const [progress, setProgress] = useState<Progress>();
  const make = async (format: ExportFormat) => {
    onProblem(undefined);
    setMade(undefined);
    setMaking(format);
    const result = await store.getState().exportAs(format, setProgress);
    setMaking(undefined);
    setProgress(undefined);
    if (result.ok) {
      setMade(result.value);
      const [first] = downloadsOf(result.value, modelName(store.getState()));
      if (first) save(first.blob, first.name);
    } else if (result.code !== "stopped") onProblem(result);
  };
  return (
    <ul className="forms">
      {choices.map((choice) => (
        <li key={choice.format}>
          <Card>
            <Form
              store={store}
              choice={choice}
              isBusy={making !== undefined}
              progress={
                making === choice.format ? (progress ?? { stage: "write", done: 0, total: 1 }) : undefined
              }
              made={made?.format === choice.format ? made : undefined}
              onMake={() => void make(choice.format)}
            />
          </Card>
        </li>
      ))}
    </ul>
  );
}

interface FormProps extends StoreProps {
  readonly choice: ExportChoice;
  readonly isBusy: boolean;
  /** While this one is made. */
  readonly progress: Progress | undefined;
  readonly made: Exported | undefined;
  readonly onMake: () => void;
}

function Form({ store, choice, isBusy, progress, made, onMake }: FormProps) {
  const { format, refusal } = choice;
  const model = useStore(store, modelName);
  const { title, what, howTo } = exportWords(format, model);
  return (
    <section aria-label={title}>
      <div className="form-head">
        <h3>{title}</h3>
        {!refusal && <Badge color="gray">{bytes(choice.bytes)}</Badge>}
        {progress ? (
          <Button size="2" variant="soft" color="gray" onClick={() => store.getState().stopExport()}>
            Stop
          </Button>
        ) : (
          <Button
            size="2"
            disabled={isBusy || refusal !== undefined}
            onClick={onMake}
            aria-label={`Download: ${title}`}
          >
            Download
          </Button>
        )}
      </div>
      <p>{what}</p>
      {choice.notes.map((note) => (
        <p key={note} className="quiet">
          {note}
        </p>
      ))}
      {refusal ? (
        <p className="refusal">
          {refusal.message} {refusal.remedy}
        </p>
      ) : (
        <details>
          <summary>How to load it</summary>
          <Copyable text={howTo} label={`Copy how to load it: ${title}`} />
        </details>
      )}
      {progress && <Making progress={progress} />}
      {made && <Made exported={made} model={model} />}
    </section>
  );
}

function Making({ progress: { stage, done, total } }: { progress: Progress }) {
  const [label, words] = PROGRESS_WORDS[stage](done, total);
  return (
    <>
      <progress aria-label={label} max={Math.max(1, total)} {...(stage === "check" ? {} : { value: done })} />
      <p role="status" className="quiet">
        {words}
      </p>
    </>
  );
}

/** What has been found, and the files once more: a browser may have asked, or have been told no. */
function Made({ exported, model }: { exported: Exported; model: string }) {
  return (
    <>
      <p role="status">{checkWords(exported.check)}</p>
      <p className="saves">
        {downloadsOf(exported, model).map(({ name, blob }) => (
          <Button key={name} size="1" variant="soft" onClick={() => save(blob, name)}>
            Save {name}
          </Button>
        ))}
      </p>
    </>
  );
}

interface Download {
  readonly name: string;
  readonly blob: Blob;
}

/** A folder goes as one zip. The files of other forms stand for themselves. */
function downloadsOf({ format, files }: Exported, model: string): Download[] {
  if (format === "peft") return [{ name: `${model}-lora.zip`, blob: zipped(files) }];
  if (format === "merged") return [{ name: `${model}-merged.zip`, blob: zipped(files) }];
  return files.map(({ name, blob }) => ({ name, blob }));
}
