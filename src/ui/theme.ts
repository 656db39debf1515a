/** Light or dark: as the system has it, until one says otherwise. */
import { useEffect, useState } from "react";

export type Appearance = "light" | "dark";

const KEY = "graft.appearance";
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function stated(): Appearance | undefined {
  const value = localStorage.getItem(KEY);
  return value === "light" || value === "dark" ? value : undefined;
}

export function useAppearance(): [Appearance, (appearance: Appearance) => void] {
  const [own, setOwn] = useState(stated);
  const [system, setSystem] = useState<Appearance>(dark.matches ? "dark" : "light");
  useEffect(() => {
    const hear = () => setSystem(dark.matches ? "dark" : "light");
    dark.addEventListener("change", hear);
    return () => dark.removeEventListener("change", hear);
  }, []);
  const appearance = own ?? system;
  // The page behind the theme, and the browser's own controls.
  useEffect(() => {
    document.documentElement.style.colorScheme = appearance;
  }, [appearance]);
  return [
    appearance,
    (chosen) => {
      localStorage.setItem(KEY, chosen);
      setOwn(chosen);
    },
  ];
}
