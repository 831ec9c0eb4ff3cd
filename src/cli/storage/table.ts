/** Plain columns under a heading, for people and for `awk`. */
import Table from 'cli-table3';
import { type CliOutput, paint } from '../context.ts';

const NO_BORDERS = {
  ...{ top: '', 'top-mid': '', 'top-left': '', 'top-right': '' },
  ...{ bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '' },
  ...{ left: '', 'left-mid': '', mid: '', 'mid-mid': '' },
  ...{ right: '', 'right-mid': '', middle: '  ' },
};

export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  output: CliOutput,
): string {
  const cells = new Table({
    chars: NO_BORDERS,
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
  });
  cells.push(
    head.map((name) => paint(output, 'bold', name)),
    ...rows.map((row) => [...row]),
  );
  return `${cells
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')}\n`;
}
