import type { ComponentType } from "react";
import type { StoreApi } from "zustand/vanilla";
import { RowsView } from "./RowsView.tsx";
import type { PageState } from "./store.ts";
import { TrainView } from "./TrainView.tsx";

export interface View {
  readonly id: string;
  readonly title: string;
  readonly component: ComponentType<{ store: StoreApi<PageState> }>;
}

/** What the page can show, one at a time. Where there are several, tabs choose between them. */
export const VIEWS: readonly [View, ...View[]] = [
  { id: "train", title: "Train", component: TrainView },
  { id: "data", title: "Data", component: RowsView },
];
