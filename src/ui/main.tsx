import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { TrainClient } from "../worker/client.ts";
import { App } from "./App.tsx";
import { createAdapterStore } from "./adapterStore.ts";
import { servedBundle } from "./bundle.ts";
import { keepNote, lostRuns, type RunNote } from "./note.ts";
import "./style.css";
import { createPageStore } from "./store.ts";

// A file that is dropped beside its field must not take the page's place.
for (const type of ["dragover", "drop"]) window.addEventListener(type, (event) => event.preventDefault());

const worker = new TrainClient();
const bundle = servedBundle();
const store = createPageStore(worker, bundle);
const adapters = createAdapterStore(worker, store, bundle);
const root = createRoot(document.getElementById("root")!);
function show(lost: readonly RunNote[]): void {
  root.render(
    <StrictMode>
      <App store={store} adapters={adapters} lost={lost} />
    </StrictMode>,
  );
}
show([]);
// Without a safe way to the page there are neither locks nor GPUs, so nothing can have been under way.
if (isSecureContext) {
  const lost: RunNote[] = [];
  lostRuns((note) => {
    lost.push(note);
    show([...lost]);
  });
  keepNote(store);
}
