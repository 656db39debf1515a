import { TemplateError } from "./values.ts";

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];

/** Python's strftime in the C locale and local time. `%-d` leaves the zero out, as glibc does. */
export function strftime(date: Date, format: string): string {
  return format.replace(/%(-?)(.)/g, (whole, bare: string, kind: string) => {
    const number = (value: number, width = 2) => (bare ? String(value) : String(value).padStart(width, "0"));
    const hour = date.getHours();
    switch (kind) {
      case "a":
        return DAYS[date.getDay()]!.slice(0, 3);
      case "A":
        return DAYS[date.getDay()]!;
      case "b":
        return MONTHS[date.getMonth()]!.slice(0, 3);
      case "B":
        return MONTHS[date.getMonth()]!;
      case "d":
        return number(date.getDate());
      case "e":
        return String(date.getDate()).padStart(bare ? 0 : 2, " ");
      case "F":
        return strftime(date, "%Y-%m-%d");
      case "H":
        return number(hour);
      case "I":
        return number(hour % 12 || 12);
      case "j":
        return number(dayOfYear(date), 3);
      case "m":
        return number(date.getMonth() + 1);
      case "M":
        return number(date.getMinutes());
      case "p":
        return hour < 12 ? "AM" : "PM";
      case "S":
        return number(date.getSeconds());
      case "T":
        return strftime(date, "%H:%M:%S");
      case "y":
        return number(date.getFullYear() % 100);
      case "Y":
        return String(date.getFullYear());
      case "%":
        return "%";
      default:
        throw new TemplateError(`strftime_now("${whole}") is not known here`);
    }
  });
}

function dayOfYear(date: Date): number {
  const days = (year: number, month: number, day: number) => Date.UTC(year, month, day) / 86_400_000;
  const year = date.getFullYear();
  return days(year, date.getMonth(), date.getDate()) - days(year, 0, 0);
}
