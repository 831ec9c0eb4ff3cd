/**
 * Tables of the planning commands: columns under a heading whose last column wraps at the width of
 * the terminal, so that a sentence of arithmetic can stand beside its number.
 */
import { type CliOutput, paint } from '../context.ts';

export interface ColumnsOptions {
  /** Columns whose values end at the same place, as numbers do; by index. */
  readonly right?: readonly number[];
  readonly indent?: number;
}

const GAP = '  ';
/** Below this the last column is not made narrower, whatever the terminal. */
const LAST_WIDTH_MIN = 16;
/** Lines longer than this are hard to read, however wide the terminal is. */
const WIDTH_MAX = 120;

/** The rows as text that ends in a line feed. */
export function columns(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  output: CliOutput,
  options: ColumnsOptions = {},
): string {
  const indent = ' '.repeat(options.indent ?? 0);
  const right = new Set(options.right);
  const last = head.length - 1;
  const widths = head.map((name, column) =>
    Math.max(name.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const before = widths.slice(0, last).reduce((sum, width) => sum + width + GAP.length, 0);
  const space = Math.max(
    LAST_WIDTH_MIN,
    Math.min(output.columns, WIDTH_MAX) - before - indent.length,
  );
  const pad = (text: string, column: number): string => {
    if (column === last && !right.has(column)) return text;
    const width = widths[column] ?? 0;
    return right.has(column) ? text.padStart(width) : text.padEnd(width);
  };
  const line = (row: readonly string[]): string[] => {
    const [firstLine = '', ...more] = wrapped(row[last] ?? '', space);
    const cells = [...row.slice(0, last), firstLine].map(pad);
    const lead = ' '.repeat(before);
    return [cells.join(GAP), ...more.map((text) => lead + text)];
  };
  const heading = line(head).map((text) => paint(output, 'bold', (indent + text).trimEnd()));
  const body = rows.flatMap(line).map((text) => (indent + text).trimEnd());
  return `${[...heading, ...body].join('\n')}\n`;
}

/**
 * `text` in lines of at most `width` signs. A longer word, as an address is, is broken behind its
 * slashes and colons where it has some.
 */
export function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  let current = '';
  for (const word of text.split(' ')) {
    const longer = current === '' ? word : `${current} ${word}`;
    if (longer.length <= width) {
      current = longer;
      continue;
    }
    if (current !== '') lines.push(current);
    const [last = '', ...before] = broken(word, width).reverse();
    lines.push(...before.reverse());
    current = last;
  }
  return [...lines, current];
}

/** The parts of a word, each as long as fits the width. */
function broken(word: string, width: number): string[] {
  if (word.length <= width) return [word];
  const parts: string[] = [];
  let current = '';
  for (const piece of word.split(/(?<=[/:@])/)) {
    if (current !== '' && (current + piece).length > width) {
      parts.push(current);
      current = '';
    }
    current += piece;
  }
  return [...parts, current];
}

/** A paragraph for the terminal, its first line and the others indented by so many spaces. */
export function paragraph(
  text: string,
  output: CliOutput,
  { indent = 0, hang = indent }: { readonly indent?: number; readonly hang?: number } = {},
): string {
  const width = Math.min(output.columns, WIDTH_MAX) - Math.max(indent, hang);
  const [first = '', ...more] = wrapped(text, width);
  const rest = more.map((line) => `${' '.repeat(hang)}${line}`);
  return `${[' '.repeat(indent) + first, ...rest].join('\n')}\n`;
}

/** Three significant digits without an exponent; `unknown` where there is no figure. */
export function figure(value: number | null | undefined): string {
  if (value === null || value === undefined) return 'unknown';
  if (value === 0 || Math.abs(value) >= 100) return String(Math.round(value));
  return String(Number(value.toPrecision(3)));
}
