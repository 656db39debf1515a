import { type DragEvent, type InputHTMLAttributes, useId, useState } from "react";

interface ChooserProps {
  readonly title: string;
  readonly hint: string;
  /** What is chosen now. */
  readonly chosen: string | undefined;
  readonly disabled: boolean;
  readonly optional?: boolean;
  readonly folder?: boolean;
  readonly accept?: string;
  readonly onFiles: (files: FileList) => void;
  readonly onDrop: (transfer: DataTransfer) => void;
  /** Given where the choice can be taken back. */
  readonly onClear?: () => void;
}

/** A field for files: one can drop them on it, or press it and choose. */
export function Chooser(props: ChooserProps) {
  const { title, hint, chosen, disabled, optional, folder, accept, onFiles, onDrop, onClear } = props;
  const [isOver, setOver] = useState(false);
  const id = useId();
  // Not in React's types: browsers know the attribute by this name only.
  const directory = folder ? ({ webkitdirectory: "" } as InputHTMLAttributes<HTMLInputElement>) : {};
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    if (!disabled) onDrop(event.dataTransfer);
  };
  return (
    <div className="chooser">
      <label
        className={`drop${isOver ? " over" : ""}${disabled ? " disabled" : ""}`}
        onDragEnter={() => setOver(true)}
        onDragLeave={() => setOver(false)}
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
          disabled={disabled}
          accept={accept}
          {...directory}
          onChange={({ target }) => {
            if (target.files?.length) onFiles(target.files);
            // The same file can be chosen again, after it was mended.
            target.value = "";
          }}
        />
        <span id={id} className={chosen ? "chosen" : "quiet"}>
          {chosen ?? hint}
        </span>
      </label>
      {chosen && onClear && !disabled && (
        <button type="button" className="clear" aria-label={`Remove: ${title}`} onClick={onClear}>
          Remove
        </button>
      )}
    </div>
  );
}
