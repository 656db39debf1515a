import { Card, Heading } from "@radix-ui/themes";
import { type ReactNode, useId } from "react";

interface PanelProps {
  readonly title: string;
  /** Stands at the right of the title. */
  readonly aside?: ReactNode;
  readonly className?: string;
  readonly children: ReactNode;
}

/** A card with a heading: everything on the page stands in one. */
export function Panel({ title, aside, className = "", children }: PanelProps) {
  const id = useId();
  return (
    <Card asChild size="2" className={`panel ${className}`}>
      <section aria-labelledby={id}>
        <div className="panel-head">
          <Heading as="h2" size="3" id={id}>
            {title}
          </Heading>
          {aside}
        </div>
        {children}
      </section>
    </Card>
  );
}
