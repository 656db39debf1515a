import { Badge, IconButton, Tabs, Theme } from "@radix-ui/themes";
import { type CSSProperties, type ReactNode, useState } from "react";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import type { AdapterState } from "./adapterStore.ts";
import type { RunNote } from "./note.ts";
import { LostRuns, Problem } from "./Problem.tsx";
import type { PageState } from "./pageState.ts";
import { type Appearance, useAppearance } from "./theme.ts";
import { VIEWS } from "./views.ts";

interface AppProps {
  readonly store: StoreApi<PageState>;
  readonly adapters: StoreApi<AdapterState>;
  /** Of tabs that are gone. */
  readonly lost: readonly RunNote[];
}

export function App({ store, adapters, lost }: AppProps) {
  const [appearance, setAppearance] = useAppearance();
  const device = useStore(store, (state) => state.device);
  return (
    <Theme appearance={appearance} accentColor="jade" grayColor="sage" radius="large" panelBackground="solid">
      <div className="page">
        <header className="head">
          <Mark />
          <div className="name">
            <h1>Graft</h1>
            <p>
              Fine-tune a language model in this tab. Nothing leaves it but the adapter that you download.
            </p>
          </div>
          <DeviceWords store={store} />
          <AppearanceSwitch appearance={appearance} onChoose={setAppearance} />
        </header>
        <LostRuns notes={lost} />
        {device?.ok === false && <Problem title="Graft cannot train here" failure={device} />}
        <Views store={store} adapters={adapters} />
        <footer className="quiet">
          The model and the data are read by a worker that has no network. The page talks to the server it
          came from, and to no other.
        </footer>
      </div>
    </Theme>
  );
}

function Views({ store, adapters }: Omit<AppProps, "lost">) {
  const [shown, setShown] = useState(VIEWS[0].id);
  const content = ({ component: Component }: (typeof VIEWS)[number]): ReactNode => (
    <Component store={store} adapters={adapters} show={setShown} />
  );
  if (VIEWS.length === 1) return <main>{content(VIEWS[0])}</main>;
  return (
    <Tabs.Root value={shown} onValueChange={setShown}>
      <nav aria-label="Views">
        <Tabs.List>
          {VIEWS.map(({ id, title }) => (
            <Tabs.Trigger key={id} value={id}>
              {title}
            </Tabs.Trigger>
          ))}
        </Tabs.List>
      </nav>
      <main>
        {VIEWS.map((view) => (
          <Tabs.Content key={view.id} value={view.id}>
            {content(view)}
          </Tabs.Content>
        ))}
      </main>
    </Tabs.Root>
  );
}

function DeviceWords({ store }: { store: StoreApi<PageState> }) {
  const device = useStore(store, (state) => state.device);
  if (!device) return <span className="device quiet">Looking for a GPU…</span>;
  if (!device.ok) return <Badge color="red">No GPU</Badge>;
  const { description, software } = device.value;
  return (
    <span className="device">
      <span className="quiet">Device: {description}</span>
      {software && <Badge color="amber">CPU, slow</Badge>}
    </span>
  );
}

function AppearanceSwitch(props: { appearance: Appearance; onChoose: (appearance: Appearance) => void }) {
  const other = props.appearance === "dark" ? "light" : "dark";
  return (
    <IconButton
      type="button"
      variant="ghost"
      color="gray"
      size="3"
      aria-label={`Use ${other} colours`}
      onClick={() => props.onChoose(other)}
    >
      <svg viewBox="0 0 16 16" width="18" height="18" aria-hidden="true">
        <circle cx="8" cy="8" r="6.25" fill="none" stroke="currentColor" strokeWidth="1.5" />
        <path d="M8 1.75a6.25 6.25 0 0 1 0 12.5z" fill="currentColor" />
      </svg>
    </IconButton>
  );
}

/** Two thin matrices on a large one. */
function Mark() {
  const style = { flex: "none" } satisfies CSSProperties;
  return (
    <svg viewBox="0 0 32 32" width="40" height="40" aria-hidden="true" className="mark" style={style}>
      <rect x="1" y="1" width="30" height="30" rx="7" className="mark-back" />
      <rect x="8" y="8" width="4" height="16" rx="1.5" className="mark-front" />
      <rect x="14" y="8" width="10" height="4" rx="1.5" className="mark-front" />
      <rect x="14" y="14" width="10" height="10" rx="1.5" className="mark-base" />
    </svg>
  );
}
