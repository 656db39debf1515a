import { Button } from "@radix-ui/themes";
import { useState } from "react";

/** Lines to be taken elsewhere; `label` says of the button what it copies. */
export function Copyable({ text, label }: { readonly text: string; readonly label: string }) {
  const [isCopied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
  };
  return (
    <div className="copyable">
      <pre>{text}</pre>
      <Button size="1" variant="soft" color="gray" aria-label={label} onClick={() => void copy()}>
        {isCopied ? "Copied" : "Copy"}
      </Button>
    </div>
  );
}
