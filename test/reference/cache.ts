/** Oracle of shaders/cache.wgsl. x [rows, xWidth], slots [rows], cache [slots, width] → cache. */
export interface Shape {
  readonly xWidth: number;
  readonly start: number;
  readonly width: number;
}

export function append(
  cache: Float64Array,
  { xWidth, start, width }: Shape,
  x: Float64Array,
  slots: Uint32Array,
): Float64Array {
  const after = Float64Array.from(cache);
  slots.forEach((slot, row) => {
    after.set(x.subarray(row * xWidth + start, row * xWidth + start + width), slot * width);
  });
  return after;
}
