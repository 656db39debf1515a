import { Badge, Button, Callout, Card, SegmentedControl } from "@radix-ui/themes";
import { useEffect, useId, useRef, useState } from "react";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import type { ExportChoice, Exported, ExportFormat, Failure, Progress } from "../worker/api.ts";
import { Copyable } from "./Copyable.tsx";
import { save, zipped } from "./download.ts";
import { checkWords, exportWords } from "./exportWords.ts";
import { bytes } from "./format.ts";
import { Problem } from "./Problem.tsx";
import { modelName, type PageState } from "./pageState.ts";
import { PROGRESS_WORDS } from "./progressWords.ts";

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
  const [making, setMaking] = useState<ExportFormat>();
  const [isLeaving, setLeaving] = useState(false);
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
  useEffect(() => {
    if (making === undefined) return;
    // Of the browser's own request to close only the first can be refused; a key that is refused makes none.
    const onKey = (event: KeyboardEvent) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      setLeaving((isAsked) => !isAsked);
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, [making]);
  const close = () => dialog.current?.close();
  const follow = (format: ExportFormat | undefined) => {
    setMaking(format);
    setLeaving(false);
  };
  // The browser's own dialog needs no styles that the page's policy forbids.
  return (
    <dialog
      ref={dialog}
      className="exports"
      aria-labelledby={title}
      onClose={onClose}
      onCancel={(event) => {
        if (making === undefined) return;
        event.preventDefault();
        setLeaving(!isLeaving);
      }}
    >
      <div className="dialog-head">
        <h2 id={title}>Take it along</h2>
        <Button
          variant="soft"
          color="gray"
          onClick={() => (making === undefined ? close() : setLeaving(true))}
        >
          Close
        </Button>
      </div>
      {isLeaving && <Leaving onStay={() => setLeaving(false)} onLeave={close} />}
      <p>
        Every file is read back and run before it is yours: its logits, the scores that it gives each next
        token, must be those of the model that was trained.
      </p>
      {problem && <Problem title="That cannot be exported" failure={problem} />}
      {!problem && !choices && <p className="quiet">Looking at what each form would hold…</p>}
      {choices && (
        <Choices store={store} choices={choices} making={making} onMaking={follow} onProblem={setProblem} />
      )}
    </dialog>
  );
}

interface LeavingProps {
  readonly onStay: () => void;
  readonly onLeave: () => void;
}

/** Closing stops what is being made: that is asked first. */
function Leaving({ onStay, onLeave }: LeavingProps) {
  const stay = useRef<HTMLButtonElement>(null);
  // The dialog may be scrolled far from its head.
  useEffect(() => stay.current?.focus(), []);
  return (
    <Callout.Root role="alert" color="amber" className="callout">
      <p>The file is still being made. Closing stops that, and nothing of it is kept.</p>
      <div className="line">
        <Button ref={stay} size="1" variant="soft" onClick={onStay}>
          Go on
        </Button>
        <Button size="1" variant="soft" color="gray" onClick={onLeave}>
          Stop and close
        </Button>
      </div>
    </Callout.Root>
  );
}

interface ChoicesProps extends StoreProps {
  readonly choices: readonly ExportChoice[];
  /** What is being made now. */
  readonly making: ExportFormat | undefined;
  readonly onMaking: (format: ExportFormat | undefined) => void;
  readonly onProblem: (problem: Failure | undefined) => void;
}

function Choices({ store, choices, making, onMaking, onProblem }: ChoicesProps) {
  const [made, setMade] = useState<Exported>();
  const [stopped, setStopped] = useState<ExportFormat>();
  const [progress, setProgress] = useState<Progress>();
  const make = async (format: ExportFormat) => {
    onProblem(undefined);
    setMade(undefined);
    setStopped(undefined);
    onMaking(format);
    const result = await store.getState().exportAs(format, setProgress);
    onMaking(undefined);
    setProgress(undefined);
    if (result.ok) {
      setMade(result.value);
      const [first] = downloadsOf(result.value, modelName(store.getState()));
      if (first) save(first.blob, first.name);
    } else if (result.code === "stopped") setStopped(format);
    else onProblem(result);
  };
  return (
    <ul className="forms">
      {FORMS.map((formats) => (
        <li key={formats[0]}>
          <Card>
            <Form
              store={store}
              choices={formats.flatMap((format) => choices.filter((choice) => choice.format === format))}
              making={making}
              progress={progress}
              made={made}
              stopped={stopped}
              onMake={(format) => void make(format)}
            />
          </Card>
        </li>
      ))}
    </ul>
  );
}

/** Formats that differ by the type of their numbers only are one form. */
const FORMS: readonly (readonly ExportFormat[])[] = [
  ["peft"],
  ["gguf"],
  ["merged"],
  ["merged-gguf-f16", "merged-gguf-q8_0", "merged-gguf-f32"],
];

interface FormProps extends StoreProps {
  /** By the type of their numbers. */
  readonly choices: readonly ExportChoice[];
  readonly making: ExportFormat | undefined;
  readonly progress: Progress | undefined;
  readonly made: Exported | undefined;
  readonly stopped: ExportFormat | undefined;
  readonly onMake: (format: ExportFormat) => void;
}

function Form({ store, choices, making, progress, made, stopped, onMake }: FormProps) {
  const [chosen, setChosen] = useState(choices[0]?.format);
  const model = useStore(store, modelName);
  const choice = choices.find(({ format }) => format === chosen);
  if (!choice) return null;
  const { format, refusal, notes } = choice;
  const { title, what, howTo, type } = exportWords(format, model);
  const isMaking = making === format;
  return (
    <section aria-label={title}>
      <div className="form-head">
        <h3>
          {title} {!refusal && <Badge color="gray">{bytes(choice.bytes)}</Badge>}
        </h3>
        {isMaking ? (
          <Button size="2" variant="soft" color="gray" onClick={() => store.getState().stopExport()}>
            Stop
          </Button>
        ) : (
          <Button
            size="2"
            disabled={making !== undefined || refusal !== undefined}
            onClick={() => onMake(format)}
            aria-label={`Download: ${title}`}
          >
            Download
          </Button>
        )}
      </div>
      {type && (
        <SegmentedControl.Root
          size="1"
          aria-label="Type of the numbers"
          value={format}
          onValueChange={(value) => setChosen(value as ExportFormat)}
        >
          {choices.map((one) => (
            <SegmentedControl.Item key={one.format} value={one.format}>
              {exportWords(one.format, model).type}
            </SegmentedControl.Item>
          ))}
        </SegmentedControl.Root>
      )}
      <p>{what}</p>
      {notes.map((note) => (
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
      {isMaking && <Making progress={progress ?? { stage: "write", done: 0, total: 1 }} />}
      {made?.format === format && <Made exported={made} model={model} />}
      {stopped === format && (
        <p role="status" className="quiet">
          Stopped: no file was made, and what was trained is untouched.
        </p>
      )}
    </section>
  );
}

function Making({ progress: { stage, done, total } }: { progress: Progress }) {
  const [label, words] = PROGRESS_WORDS[stage](done, total);
  const shown = useInSight<HTMLParagraphElement>();
  return (
    <>
      <progress aria-label={label} max={Math.max(1, total)} {...(stage === "check" ? {} : { value: done })} />
      <p ref={shown} role="status" className="quiet">
        {words}
      </p>
    </>
  );
}

/** Once it is there it is scrolled to, as far as is needed: the dialog may end above it. */
function useInSight<Shown extends HTMLElement>() {
  const shown = useRef<Shown>(null);
  useEffect(() => {
    // Some browsers return a promise, which is no function that ends an effect.
    shown.current?.scrollIntoView({ block: "nearest" });
  }, []);
  return shown;
}

/** What has been found, and the files once more: a browser may have asked, or have been told no. */
function Made({ exported, model }: { exported: Exported; model: string }) {
  const shown = useInSight<HTMLParagraphElement>();
  return (
    <>
      <p role="status">{checkWords(exported.check)}</p>
      <p ref={shown} className="saves">
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
