import type { ComponentType } from "react";
import type { StoreApi } from "zustand/vanilla";
import { AdaptersView } from "./AdaptersView.tsx";
import type { AdapterState } from "./adapterStore.ts";
import { RowsView } from "./RowsView.tsx";
import type { PageState } from "./store.ts";
import { TrainView } from "./TrainView.tsx";

export interface ViewProps {
  readonly store: StoreApi<PageState>;
  readonly adapters: StoreApi<AdapterState>;
  /** Turns to the view of this id. */
  readonly show: (id: string) => void;
}

export interface View {
  readonly id: string;
  readonly title: string;
  readonly component: ComponentType<ViewProps>;
}

/** What the page can show, one at a time. Where there are several, tabs choose between them. */
export const VIEWS: readonly [View, ...View[]] = [
  { id: "train", title: "Train", component: TrainView },
  { id: "data", title: "Data", component: RowsView },
  { id: "adapters", title: "Adapters", component: AdaptersView },
];
