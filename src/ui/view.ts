import type { ComponentType } from "react";
import type { StoreApi } from "zustand/vanilla";
import type { AdapterState } from "./adapterStore.ts";
import type { PageState } from "./pageState.ts";

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
