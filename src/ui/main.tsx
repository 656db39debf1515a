import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { TrainClient } from "../worker/client.ts";
import { App } from "./App.tsx";
import { createAdapterStore } from "./adapterStore.ts";
import { servedBundle } from "./bundle.ts";
import { keepNote, lostRuns } from "./note.ts";
import "./style.css";
import { createPageStore } from "./store.ts";

// A file that is dropped beside its field must not take the page's place.
for (const type of ["dragover", "drop"]) window.addEventListener(type, (event) => event.preventDefault());

const worker = new TrainClient();
const bundle = servedBundle();
const store = createPageStore(worker, bundle);
const adapters = createAdapterStore(worker, store, bundle);
// Without a safe way to the page there are neither locks nor GPUs, so nothing can have been under way.
const lost = isSecureContext ? await lostRuns() : [];
if (isSecureContext) keepNote(store);
createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <App store={store} adapters={adapters} lost={lost} />
  </StrictMode>,
);
