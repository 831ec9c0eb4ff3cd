/**
 * HTML that cannot be broken out of: `html` escapes everything that is put into it, but for what
 * `html` itself has made. Names, error texts and commands come from servers that nobody trusts.
 */

/** Text that is HTML already. Only this file makes it. */
class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

type Part = string | number | Html | readonly Part[] | null;

export type { Html };

/** A piece of a page; strings and numbers are escaped, lists joined, null is nothing. */
export function html(pieces: TemplateStringsArray, ...parts: readonly Part[]): Html {
  const text = pieces.map((piece, i) => `${piece}${i < parts.length ? render(parts[i]) : ''}`);
  return new Html(text.join(''));
}

/** Our own style sheet, and figures of src/plot, which escape their own text; nothing else. */
export const trusted = (text: string): Html => new Html(text);

function render(part: Part | undefined): string {
  if (part === null || part === undefined) return '';
  if (part instanceof Html) return part.text;
  if (typeof part === 'object') return part.map(render).join('');
  return escapeHtml(String(part));
}

const NAMES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Control characters, which XML has none of, become a visible sign; so do marks of direction. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (sign) => NAMES[sign] ?? sign).replace(UNSEEN, '\ufffd');
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: it is these that are to be found
const UNSEEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;
