/** Oracle of shaders/copy.wgsl. */
export function forward(x: Float64Array): Float64Array {
  return Float64Array.from(x);
}
