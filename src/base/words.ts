/** What people read. */

/** "row" beside 1, "rows" beside any other number. */
export function plural(count: number, noun: string): string {
  return count === 1 ? noun : `${noun}s`;
}
