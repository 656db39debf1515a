/** Float64 oracle of shaders/swiglu.wgsl. gateUp [rows, 2 · width]; y, dy [rows, width]. */
export function forward(gateUp: Float64Array, width: number): Float64Array {
  return Float64Array.from({ length: gateUp.length / 2 }, (_, at) => {
    const [gate, up] = halves(gateUp, width, at);
    return (gate / (1 + Math.exp(-gate))) * up;
  });
}

export function backward(gateUp: Float64Array, width: number, dy: Float64Array): Float64Array {
  const gradient = new Float64Array(gateUp.length);
  dy.forEach((d, at) => {
    const [gate, up] = halves(gateUp, width, at);
    const sigma = 1 / (1 + Math.exp(-gate));
    const start = Math.floor(at / width) * 2 * width + (at % width);
    gradient[start] = d * up * (sigma + gate * sigma * (1 - sigma));
    gradient[start + width] = d * gate * sigma;
  });
  return gradient;
}

/** Gate and up of element `at` of the output. */
function halves(gateUp: Float64Array, width: number, at: number): [number, number] {
  const start = Math.floor(at / width) * 2 * width + (at % width);
  return [gateUp[start]!, gateUp[start + width]!];
}
