/** What `plenum plan` prints of a simulated load: percentiles, goodput, the highest rate. */
import type { LoadResult, Percentiles, Target } from '../../simulate/statistics.ts';
import type { LoadAnswer } from '../../simulate/under-load.ts';
import type { CliOutput } from '../context.ts';
import { columns, figure, paragraph } from './columns.ts';
import type { Asked } from './plan-asked.ts';
import { bare, millisOf, percent, title } from './plan-format.ts';
import type { PlanRow } from './plan-row.ts';

/** `ttft ≤ 500 ms and 60 ms between tokens for 90 % of requests`. */
export function targetText({ ttftMs, itlMs, share }: Target): string {
  const parts = [
    ...(ttftMs === null ? [] : [`a first token within ${millisOf(ttftMs)}`]),
    ...(itlMs === null ? [] : [`${millisOf(itlMs)} between tokens`]),
  ];
  return `${parts.join(' and ')} for ${percent(share)} of requests`;
}

/** One sentence for the verdict. */
export function loadSentence({ result, highest }: LoadAnswer, asked: Asked): string {
  const { ttftMs, goodput } = result;
  const first = `95 % of requests get their first token within ${millisOf(ttftMs?.p95)}`;
  const target = asked.load?.target ?? null;
  if (target === null || goodput === null) return `${trafficText(asked)}, ${first}.`;
  const most = highest?.ratePerSecond ?? null;
  const limit =
    most === null
      ? 'the target is missed at any rate'
      : `the target is met up to ${figure(most)} requests per second`;
  return `${trafficText(asked)}, ${first} and ${percent(goodput.share)} meet the target; ${limit}.`;
}

/** `At 2 requests per second`. */
export function trafficText({ load, traffic }: Asked): string {
  const rate = load?.ratePerSecond ?? null;
  if (rate !== null) return `At ${figure(rate)} requests per second`;
  if (load?.trace !== null && load !== null) return 'At the times of the trace';
  return `With ${traffic.users} users who ask again at once`;
}

/** The section; empty when nothing was asked for. */
export function loadSection(row: PlanRow, asked: Asked, output: CliOutput): string {
  const { load, loadMissing } = row;
  if (load === null && loadMissing === null) return '';
  const heading = title(`Under load (simulated): ${lowerFirst(trafficText(asked))}`, output);
  if (load === null) return heading + paragraph(`not simulated: ${loadMissing}`, output, inset);
  const { result } = load;
  const times = columns(
    ['', 'MEAN', 'P50', 'P90', 'P95', 'P99'],
    [
      ['first token', ...percentileCells(result.ttftMs)],
      ['between tokens', ...percentileCells(result.itlMs)],
      ['in the queue', ...percentileCells(result.queueMs)],
      ['whole request', ...percentileCells(result.requestMs)],
    ],
    output,
    { indent: 2, right: [1, 2, 3, 4, 5] },
  );
  return heading + times + bare(factRows(load, asked), output) + noteText(asked, output);
}

const inset = { indent: 2 } as const;
const lowerFirst = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1);

function percentileCells(of: Percentiles | null): string[] {
  if (of === null) return ['-', '-', '-', '-', '-'];
  return [of.mean, of.p50, of.p90, of.p95, of.p99].map(millisOf);
}

function factRows({ result, highest, capacityPerSecond }: LoadAnswer, asked: Asked): string[][] {
  const { goodput, requests, cachedShare, preemptions } = result;
  const target = asked.load?.target ?? null;
  const met =
    target === null || goodput === null
      ? []
      : [
          [
            'goodput',
            `${figure(goodput.requestsPerSecond)} requests/s`,
            `${percent(goodput.share)} of requests meet ${targetText(target)}`,
          ],
          ['highest rate', highestText(highest), `that meets the target${spanText(highest)}`],
        ];
  return [
    ...met,
    ['throughput', `${figure(result.outputTps)} tok/s out`, throughputText(result)],
    [
      'machine',
      `${percent(result.utilisation)} busy`,
      `${figure(result.runningMean)} sequences at a time, at most ${result.waitingMost} waiting`,
    ],
    ['cached', percent(cachedShare), `of prompt tokens; ${preemptions} preemptions`],
    ['ended', `${requests.measured} requests`, outcomesText(result)],
    ['capacity', `${figure(capacityPerSecond)} requests/s`, 'when all slots are busy, about'],
  ];
}

function highestText(highest: LoadAnswer['highest']): string {
  const rate = highest?.ratePerSecond ?? null;
  return rate === null ? 'none' : `${figure(rate)} requests/s`;
}

function spanText(highest: LoadAnswer['highest']): string {
  const { lowPerSecond = null, highPerSecond = null } = highest ?? {};
  if (lowPerSecond === null || highPerSecond === null) return '';
  return `; three samples gave ${figure(lowPerSecond)} to ${figure(highPerSecond)}`;
}

function throughputText({ promptTps, endedPerSecond, offeredPerSecond }: LoadResult): string {
  const ended = `${figure(endedPerSecond)} of ${figure(offeredPerSecond)} requests/s ended`;
  return `${figure(promptTps)} tok/s of prompts computed; ${ended}`;
}

const outcomesText = ({ requests }: LoadResult): string =>
  `${requests.finished} finished, ${requests.refused} refused, ${requests.expired} expired, ` +
  `${requests.failed} failed`;

function noteText({ load, traffic }: Asked, output: CliOutput): string {
  const trace = load?.trace ?? null;
  const lengths =
    trace === null
      ? `log-normal lengths with sigma ${load?.spread ?? 0}`
      : `lengths of ${trace.name} (${trace.tokens})`;
  const drawn = trace === null && load?.spread === 0 ? 'fixed lengths' : lengths;
  const { users } = traffic;
  const text =
    `predicted: the scheduler itself in virtual time, ${users} at a time, ${drawn}, ` +
    `seed ${load?.seed}; the first model alone, without speculation`;
  return paragraph(text, output, inset);
}
