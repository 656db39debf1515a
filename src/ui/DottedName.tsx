import { Fragment } from "react";

/** A name of a tensor or module, which may break behind its dots, or another mark, and nowhere else while there is room. */
export function DottedName({ name, mark = "." }: { name: string; mark?: string }) {
  return name.split(mark).map((part, i) => (
    // biome-ignore lint/suspicious/noArrayIndexKey: the parts of a name have no other key, and no order but this
    <Fragment key={i}>
      {i > 0 && (
        <>
          {mark}
          <wbr />
        </>
      )}
      {part}
    </Fragment>
  ));
}
