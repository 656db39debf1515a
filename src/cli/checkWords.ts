import type { SelfCheck } from "../train/selfCheck.ts";

/** What reading an export back has shown. */
export function checkWords({ difference, allowed, moved, kept }: SelfCheck): string {
  const share = (value: number) => `${value.toExponential(1)} of the largest`;
  const found =
    difference === 0 ? "nothing" : `${share(difference)} (${allowed.toExponential(1)} is allowed)`;
  const lost = Math.abs(kept - 1) > 0.05 ? `, of which ${Math.round(100 * kept)} % is in it` : "";
  return `its logits differ by ${found}; training has moved them by ${share(moved)}${lost}`;
}
