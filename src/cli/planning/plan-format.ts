/** How the report of a plan writes money, times, shares, headings and tables without a head. */
import { formatMillis } from '../../base/units.ts';
import type { NamedBreakEven } from '../../planner/money-offers.ts';
import { type CliOutput, paint } from '../context.ts';
import { columns, figure } from './columns.ts';

export const usd = (value: number | null): string =>
  value === null ? 'unknown' : `$${value < 0.1 ? value.toPrecision(2) : value.toFixed(2)}`;

export const millisOf = (value: number | null | undefined): string =>
  value === null || value === undefined ? 'unknown' : formatMillis(value);

export const percent = (share: number): string => `${Math.round(share * 100)} %`;

export const title = (text: string, output: CliOutput): string =>
  `${paint(output, 'bold', text)}\n`;

/** Rows in columns, inset under a heading of their own. */
export function bare(rows: readonly (readonly string[])[], output: CliOutput): string {
  const width = Math.max(0, ...rows.map((row) => row.length));
  const head = Array.from({ length: width }, () => '');
  return columns(head, rows, output, { indent: 2 }).split('\n').slice(1).join('\n');
}

/** `from 20 % of the time on: 80 million tokens a month`. */
export function evenText({ utilisation, mtokPerMonth, reason }: NamedBreakEven): string {
  if (utilisation === null) return `never: ${reason}`;
  const volume = mtokPerMonth === null || mtokPerMonth === 0 ? '' : figure(mtokPerMonth);
  return volume === '' ? reason : `${reason}: ${volume} million tokens a month`;
}

export const againstText = ({ against, rented }: NamedBreakEven): string =>
  rented === null ? against : `${against}, ${rented}`;
