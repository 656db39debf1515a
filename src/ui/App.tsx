import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import { Chooser } from "./Chooser.tsx";
import { downloadZip } from "./download.ts";
import { singleFile, wholeFolder } from "./files.ts";
import { Problem } from "./Problem.tsx";
import { Run } from "./Run.tsx";
import { Summary } from "./Summary.tsx";
import type { PageState } from "./store.ts";

export function App({ store }: { store: StoreApi<PageState> }) {
  const state = useStore(store);
  const { device, choices, problem, summary, phase, choose } = state;
  const locked = phase === "preparing" || phase === "training" || phase === "paused";
  const download = async () => {
    const files = await state.takeAdapter();
    if (files) downloadZip(files, `${choices.model?.label ?? "model"}-lora.zip`);
  };
  return (
    <>
      <header>
        <h1>Graft</h1>
        <p>
          LoRA fine-tuning on this machine's GPU. Nothing leaves this tab but the adapter that you download.
        </p>
        {device?.ok && <p className="quiet">Device: {device.value.description}</p>}
        {!device && <p className="quiet">Looking for a GPU…</p>}
      </header>
      <main>
        {device?.ok === false && <Problem title="Graft cannot train here" failure={device} />}
        <section aria-labelledby="files">
          <h2 id="files">Files</h2>
          <div className="choosers">
            <Chooser
              title="Model folder"
              hint="Drop or choose a Hugging Face checkpoint: config.json, tokenizer.json, .safetensors."
              disabled={locked}
              chosen={choices.model && folderWords(choices.model)}
              reader={wholeFolder}
              onChoose={(model) => choose({ model })}
            />
            <Chooser
              title="Data"
              hint='Drop or choose a .jsonl file: {"text": "…"} on each line.'
              accept=".jsonl,.ndjson"
              disabled={locked}
              chosen={choices.data?.name}
              reader={singleFile}
              onChoose={(data) => choose({ data })}
            />
            <Chooser
              title="Run file"
              hint='Drop or choose a .json file: {"lora": {…}, "train": {…}}. Without one the defaults hold.'
              optional
              accept=".json"
              disabled={locked}
              chosen={choices.run?.name}
              reader={singleFile}
              onChoose={(run) => choose({ run })}
              onClear={() => choose({ run: undefined })}
            />
            <Chooser
              title="Adapter folder"
              hint="Drop or choose a PEFT adapter to go on from."
              optional
              disabled={locked}
              chosen={choices.adapter && folderWords(choices.adapter)}
              reader={wholeFolder}
              onChoose={(adapter) => choose({ adapter })}
              onClear={() => choose({ adapter: undefined })}
            />
          </div>
        </section>
        {problem && <Problem title="That did not work" failure={problem} />}
        {summary && <Summary summary={summary} />}
        <Run state={state} onDownload={() => void download()} />
      </main>
    </>
  );
}

function folderWords({ label, files }: { label: string; files: readonly File[] }): string {
  return `${label} (${files.length} ${files.length === 1 ? "file" : "files"})`;
}
