import { AdaptersView } from "./AdaptersView.tsx";
import { RowsView } from "./RowsView.tsx";
import { TrainView } from "./TrainView.tsx";
import type { View } from "./view.ts";

/** What the page can show, one at a time. Where there are several, tabs choose between them. */
export const VIEWS: readonly [View, ...View[]] = [
  { id: "train", title: "Train", component: TrainView },
  { id: "data", title: "Data", component: RowsView },
  { id: "adapters", title: "Adapters", component: AdaptersView },
];
