import { Button } from "@radix-ui/themes";
import { type DragEvent, type InputHTMLAttributes, useId, useState } from "react";
import type { PickReader } from "./files.ts";

interface ChooserProps<T> {
  readonly title: string;
  readonly hint: string;
  /** What is chosen now. */
  readonly chosen: string | undefined;
  readonly optional?: boolean;
  readonly multiple?: boolean;
  readonly reader: PickReader<T>;
  readonly accept?: string;
  readonly onChoose: (chosen: T) => void;
  /** Given where the choice can be taken back. */
  readonly onClear?: () => void;
}

/** A field for files: one can drop them on it, or press it and choose. A fieldset around it can disable it. */
export function Chooser<T>(props: ChooserProps<T>) {
  const { title, hint, chosen, optional, multiple, reader, accept, onChoose, onClear } = props;
  const [isOver, setOver] = useState(false);
  const id = useId();
  // Not in React's types: browsers know the attribute by this name only.
  const directory = reader.directory
    ? ({ webkitdirectory: "" } as InputHTMLAttributes<HTMLInputElement>)
    : {};
  const take = (given: T | undefined) => {
    if (given !== undefined) onChoose(given);
  };
  const isDisabled = ({ currentTarget }: DragEvent) => currentTarget.querySelector("input:disabled") !== null;
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    if (!isDisabled(event)) void reader.dropped(event.dataTransfer).then(take);
  };
  const leave = ({ currentTarget, relatedTarget }: DragEvent) => {
    // Passing from the field to the words in it is no leaving.
    if (!currentTarget.contains(relatedTarget as Node | null)) setOver(false);
  };
  return (
    <div className="chooser">
      <label
        className={`drop${isOver ? " over" : ""}`}
        onDragEnter={(event) => setOver(!isDisabled(event))}
        onDragLeave={leave}
        onDrop={drop}
      >
        <span className="title">
          {title}
          {optional && <span className="quiet"> (optional)</span>}
        </span>
        <input
          type="file"
          className="unseen"
          aria-describedby={id}
          accept={accept}
          multiple={multiple}
          {...directory}
          onChange={({ target }) => {
            if (target.files) take(reader.chosen(target.files));
            // The same file can be chosen again, after it was mended.
            target.value = "";
          }}
        />
        <span id={id} className={chosen ? "chosen" : "quiet"}>
          {chosen ?? hint}
        </span>
      </label>
      {chosen && onClear && (
        <Button
          type="button"
          size="1"
          variant="soft"
          color="gray"
          className="clear"
          aria-label={`Remove: ${title}`}
          onClick={onClear}
        >
          Remove
        </Button>
      )}
    </div>
  );
}
