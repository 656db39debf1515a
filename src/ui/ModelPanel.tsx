import { Badge, Button } from "@radix-ui/themes";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import { Chooser } from "./Chooser.tsx";
import { folderWords, wholeFolder } from "./files.ts";
import { Panel } from "./Panel.tsx";
import type { PageState } from "./pageState.ts";

/** The bundled model, or a folder of the user's own. */
export function ModelPanel({ store }: { store: StoreApi<PageState> }) {
  const model = useStore(store, ({ choices }) => choices.model);
  const choose = useStore(store, (state) => state.choose);
  return (
    <Panel
      title="Model"
      aside={
        model ? (
          <Button size="1" variant="soft" color="gray" onClick={() => choose({ model: undefined })}>
            Use the bundled model
          </Button>
        ) : (
          <Badge color="amber">a toy</Badge>
        )
      }
    >
      {!model && (
        <p>
          <strong>The bundled toy</strong>: 3 million parameters, 6 MB, served with this page. It tells simple
          stories and knows nothing about the world. It is there to show that an adapter learns, and is of no
          other use.
        </p>
      )}
      <Chooser
        title="Model folder"
        hint="Or drop or choose a Hugging Face checkpoint: config.json, tokenizer.json, .safetensors."
        chosen={model && folderWords(model)}
        reader={wholeFolder}
        onChoose={(folder) => choose({ model: folder })}
      />
    </Panel>
  );
}
