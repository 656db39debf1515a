/** Limits of time that mean the same on a fast machine and on a slow one. */

/** Processor time of this process in milliseconds: what else the machine does is no matter. */
export const cpuMs = () => process.cpuUsage().user / 1000;

/** Work of one kind whose length is known: numbers drawn one from another. */
function yardstick(): number {
  const start = cpuMs();
  let state = 1;
  for (let i = 0; i < 3e7; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
  }
  if (state === 0) throw new Error("xorshift never gives 0");
  return cpuMs() - start;
}

/** What the yardstick takes where a second was set as the limit. */
const YARDSTICK_MS = 60;

/** A second of that machine, in milliseconds of this one's processor time. */
export const SECOND_MS = (1000 * Math.max(yardstick(), yardstick())) / YARDSTICK_MS;
