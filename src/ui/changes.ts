/** Which words of a text are new, compared with the text before. */

/** Neighbouring words of one kind. */
export interface Piece {
  readonly text: string;
  readonly isNew: boolean;
}

/** Pairs of words that are compared; longer texts count as new altogether. */
const MOST_PAIRS = 1_000_000;

const segmenter = new Intl.Segmenter(undefined, { granularity: "word" });

/** The pieces of `text`. Words of the longest sequence that both texts have in common are not new. */
export function changesIn(text: string, before: string): readonly Piece[] {
  const words = wordsOf(text);
  const kept = commonWords(words, wordsOf(before));
  const pieces: { text: string; isNew: boolean }[] = [];
  for (const [i, word] of words.entries()) {
    const isNew = !kept.has(i);
    const last = pieces.at(-1);
    if (last?.isNew === isNew) last.text += word;
    else pieces.push({ text: word, isNew });
  }
  return pieces;
}

/** Blanks and signs are words, too. */
function wordsOf(text: string): string[] {
  return Array.from(segmenter.segment(text), ({ segment }) => segment);
}

/** Places in `words` of a longest common subsequence. */
function commonWords(words: readonly string[], before: readonly string[]): ReadonlySet<number> {
  const width = before.length + 1;
  if (words.length * width > MOST_PAIRS) return new Set();
  /** [words + 1, before + 1]: how many words the rests from there have in common. */
  const common = new Uint16Array((words.length + 1) * width);
  for (let i = words.length - 1; i >= 0; i--) {
    for (let j = before.length - 1; j >= 0; j--) {
      const here = i * width + j;
      common[here] =
        words[i] === before[j]
          ? common[here + width + 1]! + 1
          : Math.max(common[here + width]!, common[here + 1]!);
    }
  }
  const places = new Set<number>();
  for (let i = 0, j = 0; i < words.length && j < before.length; ) {
    const here = i * width + j;
    if (words[i] === before[j]) {
      places.add(i);
      i++;
      j++;
    } else if (common[here + width]! >= common[here + 1]!) i++;
    else j++;
  }
  return places;
}
