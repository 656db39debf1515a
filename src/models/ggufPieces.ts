/**
 * The scores of SentencePiece's tokens, from the merges that Transformers made of them; undefined where merges say more
 * than scores can.
 *
 * llama.cpp joins two neighbours whenever the whole is a token, the highest score first, wherever it was cut. A list of
 * merges does the same if it names every cut of every token that both halves of are tokens, and all cuts of one token
 * one after the other. Then a token's score is minus its place in the order. Tokens that no merge makes, such as <s>, are undefined.
 */
export function scoresOfPieces(
  tokens: readonly (string | undefined)[],
  merges: readonly (readonly [string, string])[],
): Float32Array<ArrayBuffer> | undefined {
  const places = new Map<string, number>();
  const cuts = new Map<string, number>();
  let last = "";
  for (const [left, right] of merges) {
    const whole = left + right;
    if (whole !== last && places.has(whole)) return undefined;
    if (whole !== last) places.set(whole, places.size);
    cuts.set(whole, (cuts.get(whole) ?? 0) + 1);
    last = whole;
  }
  const known = new Set(tokens);
  for (const token of tokens) {
    if (token === undefined) continue;
    let possible = 0;
    for (let at = 1; at < token.length; at++) {
      if (known.has(token.slice(0, at)) && known.has(token.slice(at))) possible++;
    }
    if (possible !== (cuts.get(token) ?? 0)) return undefined;
  }
  return Float32Array.from(tokens, (token) => -(places.get(token ?? "") ?? places.size));
}
