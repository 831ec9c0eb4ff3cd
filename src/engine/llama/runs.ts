/**
 * Cuts texts that would crash the tokenizer. libllama splits text for byte-pair vocabularies with
 * std::regex where it has no hand-written splitter, and that recurses once per character of a
 * match: a run of 50,000 letters without a space overflows even a stack of 16 MiB, and with it goes
 * the process. So a run that no text in words has is tokenised in parts, cut where a letter is
 * followed by punctuation if there is such a place: splitters cut there anyway, so that languages
 * without spaces lose nothing. Elsewhere a token may not cross the cut, once in RUN_MAX characters
 * of such a run.
 */

/**
 * UTF-16 units of one run. The two splitters tried (viking, falcon) took 342 and 266 bytes of stack
 * per unit, so this is 1.4 MB of the 16 MiB.
 */
export const RUN_MAX = 4096;

const SPACES_BEYOND_LATIN: ReadonlySet<number> = new Set([0x2028, 0x2029, 0x202f, 0x205f, 0x3000]);
/** How far back from the limit a better place for a cut is looked for. */
const SEARCH_UNITS = 512;

/** Whether a UTF-16 unit is white space, as `\s` of regular expressions has it. */
function isSpace(unit: number): boolean {
  if (unit <= 0x20) return unit === 0x20 || (unit >= 0x09 && unit <= 0x0d);
  if (unit < 0x1680) return unit === 0xa0;
  if (unit > 0x3000) return unit === 0xfeff;
  if (unit < 0x2000) return unit === 0x1680;
  return unit <= 0x200a || SPACES_BEYOND_LATIN.has(unit);
}

/** Where the run of white space, or of anything else, that begins at `from` ends. */
function endOfRun(text: string, from: number): number {
  const kind = isSpace(text.charCodeAt(from));
  let end = from + 1;
  while (end < text.length && isSpace(text.charCodeAt(end)) === kind) end += 1;
  return end;
}

/** True when the text has a run longer than RUN_MAX. Linear in the text. */
export function hasLongRun(text: string): boolean {
  for (let from = 0; from < text.length; ) {
    const end = endOfRun(text, from);
    if (end - from > RUN_MAX) return true;
    from = end;
  }
  return false;
}

/**
 * The text in parts that have no long run. No part ends inside a surrogate pair, nor inside one of
 * `atoms`, the special tokens that are to be found whole.
 */
export function cutLongRuns(text: string, atoms: readonly string[]): string[] {
  const parts: string[] = [];
  let begin = 0;
  for (let from = 0; from < text.length; ) {
    const end = endOfRun(text, from);
    while (end - from > RUN_MAX) {
      const cut = wholeBefore(text, clauseBefore(text, from + RUN_MAX), atoms);
      // An atom longer than a run: it is one token, and no splitter sees its inside.
      from = cut > from ? cut : from + RUN_MAX;
      parts.push(text.slice(begin, from));
      begin = from;
    }
    from = end;
  }
  if (begin < text.length || parts.length === 0) parts.push(text.slice(begin));
  return parts;
}

/** The last place near `at` between a letter and punctuation (no apostrophe), or `at` itself. */
function clauseBefore(text: string, at: number): number {
  for (let cut = at; cut > at - SEARCH_UNITS; cut--) {
    if (/^\p{L}[^\P{P}'’]$/u.test(text.slice(cut - 1, cut + 1))) return cut;
  }
  return at;
}

/** The last place at or before `at` that is inside of nothing. */
function wholeBefore(text: string, at: number, atoms: readonly string[]): number {
  let cut = at;
  const low = text.charCodeAt(cut);
  if (low >= 0xdc00 && low <= 0xdfff) cut -= 1;
  for (let moved = true; moved; ) {
    moved = false;
    for (const atom of atoms) {
      const near = text.slice(Math.max(0, cut - atom.length + 1), cut + atom.length - 1);
      const found = near.indexOf(atom);
      if (found < 0) continue;
      cut = Math.max(0, cut - atom.length + 1) + found;
      moved = true;
    }
  }
  return cut;
}
