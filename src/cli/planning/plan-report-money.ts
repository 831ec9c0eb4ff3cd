/** What `plenum plan` prints of money: offers, break-even, what moves the answer, the sources. */
import type { Influence } from '../../planner/money-compare.ts';
import type { Assumption, MoneyAnswer, Offer } from '../../planner/money-offers.ts';
import type { CliOutput } from '../context.ts';
import { columns, figure, paragraph } from './columns.ts';
import type { Asked } from './plan-asked.ts';
import { againstText, bare, evenText, percent, title, usd } from './plan-format.ts';
import type { PlanRow } from './plan-row.ts';

const inset = { indent: 2 } as const;
const INFLUENCES_SHOWN = 3;

export function costSection({ plan, money }: PlanRow, asked: Asked, output: CliOutput): string {
  const { cost } = plan;
  const { users } = asked.traffic;
  const each = `${figure(money.at.perUserTps)} tok/s for each of ${users}`;
  const heading = `Cost at ${percent(asked.utilisation)} utilisation, ${each}`;
  const energy =
    cost.joulesPerTokenOut === null
      ? 'energy unknown'
      : `energy ${figure(cost.joulesPerTokenOut)} J per output token`;
  const unknown = cost.unknown.length === 0 ? '' : `; unknown: ${cost.unknown.join(', ')}`;
  return [
    title(heading, output),
    offersTable(money, output),
    paragraph(`${energy}${unknown}`, output, inset),
    breakEvenText(money, output),
    sensitivityText(money.sensitivity, output),
    assumptionsText(money, output),
  ].join('');
}

function offersTable({ offers }: MoneyAnswer, output: CliOutput): string {
  const rows = offers.map((offer) => [
    offer.name,
    usd(offer.usdPerMtokOut),
    usd(offer.usdPerMtokIn),
    usd(offer.usdPerMtok),
    offerNote(offer),
  ]);
  const head = ['$ PER MTOK', 'OUT', 'IN', 'MIXED', 'FROM'];
  return columns(head, rows, output, { indent: 2, right: [1, 2, 3] });
}

function offerNote({ usdPerHour, source, asOf }: Offer): string {
  const rent = usdPerHour === null ? '' : `$${figure(usdPerHour)} an hour, `;
  return `${rent}${source}${asOf === null ? '' : ` ${asOf}`}`;
}

function breakEvenText({ breakEven }: MoneyAnswer, output: CliOutput): string {
  if (breakEven.length === 0) return '';
  const rows = breakEven.map((even) => [`own beats ${againstText(even)}`, evenText(even)]);
  return bare(rows, output);
}

function sensitivityText(influences: readonly Influence[], output: CliOutput): string {
  const shown = influences.slice(0, INFLUENCES_SHOWN).map(({ input, low, high }) => {
    const signed = (share: number): string => `${share < 0 ? '−' : '+'}${percent(Math.abs(share))}`;
    return `${input} (${signed(low)} / ${signed(high)})`;
  });
  if (shown.length === 0) return '';
  const text = `what moves the owned cost most, with a fifth less / more of it: ${shown.join(', ')}`;
  return paragraph(text, output, inset);
}

function assumptionsText({ assumptions }: MoneyAnswer, output: CliOutput): string {
  const texts = assumptions.map(assumptionText);
  return paragraph(`owned: ${texts.join('; ')}`, output, inset);
}

function assumptionText({ name, value, unit, source, asOf }: Assumption): string {
  const from = source === 'given' || source === 'assumed' ? source : `${source} ${asOf}`;
  const amount = unit.startsWith('USD') ? `$${value}${unit.slice(3)}` : `${value} ${unit}`.trim();
  return `${name} ${amount} (${from})`;
}
