/** Numbers as the page writes them. What was not measured is "—". */
import { plural } from "../base/words.ts";

export function count(value: number): string {
  return value.toLocaleString("en");
}

/** "1 row", "1,200 rows". */
export function counted(value: number, noun: string): string {
  return `${count(value)} ${plural(value, noun)}`;
}

export function bytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  let amount = value;
  for (; amount >= 1024 && unit < units.length - 1; unit++) amount /= 1024;
  return `${unit === 0 ? amount : amount.toFixed(1)} ${units[unit]}`;
}

export function measured(value: number | undefined, write: (value: number) => string): string {
  return value === undefined || !Number.isFinite(value) ? "—" : write(value);
}

export function percent(part: number, whole: number): string {
  return `${((100 * part) / whole).toPrecision(3)} %`;
}

/** Of an adapter: 1 is 100 %, as it was trained. */
export function strengthWords(strength: number): string {
  return `${Math.round(100 * strength)} %`;
}

/** Three digits that count: 0.0002, 1.95, 1.2e-7. */
export function shortNumber(value: number): string {
  return String(Number(value.toPrecision(3)));
}

/** 8.3 s, 1 min 20 s, 2 h 5 min. */
export function duration(ms: number): string {
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
