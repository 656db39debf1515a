import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { TrainClient } from "../worker/client.ts";
import { App } from "./App.tsx";
import "./style.css";
import { createPageStore } from "./store.ts";

// A file that is dropped beside its field must not take the page's place.
for (const type of ["dragover", "drop"]) window.addEventListener(type, (event) => event.preventDefault());

const store = createPageStore(new TrainClient());
createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <App store={store} />
  </StrictMode>,
);
