import type { ReactNode } from "react";

/** Something long in a box of its own. It takes the focus, so that keys scroll it, and is called something. */
export function Scroll({ label, children }: { label: string; children: ReactNode }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: not every browser gives the focus to what scrolls
    <section className="scroll" aria-label={label} tabIndex={0}>
      {children}
    </section>
  );
}
