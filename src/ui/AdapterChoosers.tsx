import type { AdapterSource } from "../worker/api.ts";
import { Chooser } from "./Chooser.tsx";
import { adapterSources, adapterWords, wholeFolder } from "./files.ts";

interface AdapterChoosersProps {
  /** Where one counts: that. */
  readonly chosen?: AdapterSource | undefined;
  readonly optional?: boolean;
  readonly onChoose: (sources: readonly AdapterSource[]) => void;
  readonly onClear?: () => void;
}

/** Adapters as files or as a folder: a browser lets one field choose only one of these. */
export function AdapterChoosers({ chosen, optional = false, onChoose, onClear }: AdapterChoosersProps) {
  const words = chosen && adapterWords(chosen);
  const isFile = chosen instanceof File;
  const shared = { optional, ...(onClear ? { onClear } : {}) };
  return (
    <>
      <Chooser
        title="Adapter files"
        hint="Choose a zip, a GGUF, or all files of a PEFT folder; a folder can be dropped, too."
        multiple
        chosen={isFile ? words : undefined}
        reader={adapterSources}
        onChoose={onChoose}
        {...shared}
      />
      <Chooser
        title="Adapter folder"
        hint="One that PEFT's save_pretrained wrote: adapter_config.json, adapter_model.safetensors."
        chosen={isFile ? undefined : words}
        reader={wholeFolder}
        onChoose={(folder) => onChoose([folder])}
        {...shared}
      />
    </>
  );
}
