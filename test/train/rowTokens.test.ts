import { expect, it } from "vitest";
import { pieceTexts } from "../../src/train/rowTokens.ts";

/** A token a byte; 0 is a space that decoders drop at the beginning. */
const bytes = (...texts: string[]) => texts.flatMap((text) => [...new TextEncoder().encode(text)]);
const decode = (ids: readonly number[]) =>
  new TextDecoder().decode(Uint8Array.from(ids, (id) => (id === 0 ? 32 : id))).replace(/^ /, "");

it("gives each token its text, a character of several tokens to the first", () => {
  expect(pieceTexts(bytes("aé語😀b"), decode)).toEqual(["a", "é", "", "語", "", "", "😀", "", "", "", "b"]);
  expect(pieceTexts([97, 0, 98], decode)).toEqual(["a", " ", "b"]);
  // Half a character at the end stays what it is.
  expect(pieceTexts([97, 0xe8, 0xaa], decode)).toEqual(["a", "\ufffd", ""]);
  expect(pieceTexts([], decode)).toEqual([]);
});
