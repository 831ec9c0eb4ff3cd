/**
 * `plenum bench compare A.json B.json`: two reports side by side, with what differs in how they
 * were made. They were made at different times, so a difference must be larger than what the
 * machine itself may have changed. Exit code 1 when a threshold does not hold.
 */
import { readFile, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { PlenumError } from '../../base/errors.ts';
import { type Comparison, type Report, reportSchema } from '../../bench/result.ts';
import { ALLOWANCE_DEFAULT, compareSeparate } from '../../bench/stats/comparison.ts';
import { formatValue, headline, ratioText, titleOf } from '../../bench/stats/sentence.ts';
import { findEstimate, pointsOf, runsAt } from '../../bench/stats/summary.ts';
import {
  type Held,
  judgeThreshold,
  parseThreshold,
  ratioOf,
  type Threshold,
} from '../../bench/stats/threshold.ts';
import { type CliContext, paint } from '../context.ts';
import { columns, paragraph } from '../planning/columns.ts';

export interface CompareFlags {
  readonly threshold?: readonly string[];
  /** Percent that the machine may have changed between the reports. */
  readonly allowance?: string;
  readonly json?: true;
}

/** A report of an hour of small requests is about 200 MB. */
const REPORT_BYTES_MAX = 1e9;
const ALLOWANCE_PERCENT_MAX = 100;

interface Pairing {
  readonly baseline: string;
  readonly target: string;
}

/** @throws PlenumError `usage` for files that are no reports or have no target in common. */
export async function compareReports(
  files: readonly [baseline: string, other: string],
  flags: CompareFlags,
  context: CliContext,
): Promise<void> {
  const thresholds = (flags.threshold ?? []).map(parseThreshold);
  const allowance = allowanceOf(flags.allowance);
  const [a, b] = [await readReport(files[0], context), await readReport(files[1], context)];
  const pairs = pairingsOf(a, b, files);
  const differences = differencesOf(a, b);
  const groups = pairs.flatMap((pair) => comparedPoints(pair, { a, b, allowance }));
  const judged = thresholds.flatMap((threshold) => judgeThreshold(threshold, held(threshold)));
  if (flags.json === true) {
    const comparisons = groups.flat();
    const result = { differences, allowance, comparisons, thresholds: judged };
    context.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
  } else print({ files, differences, allowance, groups }, context);
  for (const { sentence } of judged) context.stderr.write(`${sentence}\n`);
  if (judged.some(({ outcome }) => outcome !== 'kept')) context.setExitCode(1);

  function held(threshold: Threshold): Held[] {
    return pairs.flatMap((pair) => heldBy(threshold, pair, { a, b }));
  }
}

function allowanceOf(text: string | undefined): number {
  if (text === undefined) return ALLOWANCE_DEFAULT;
  const percent = Number(text.replace(/ ?%$/, ''));
  if (text.trim() !== '' && percent >= 0 && percent <= ALLOWANCE_PERCENT_MAX) return percent / 100;
  const range = `per cent from 0 to ${ALLOWANCE_PERCENT_MAX}`;
  throw new PlenumError('usage', `--allowance '${text}': it must be ${range}, as 5`);
}

async function readReport(file: string, { cwd }: CliContext): Promise<Report> {
  const path = resolve(cwd, file);
  let json: unknown;
  try {
    const { size } = await stat(path);
    if (size > REPORT_BYTES_MAX) throw new Error(`${size} bytes are more than a report has`);
    json = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new PlenumError('usage', `${file} cannot be read as a report: ${why}`, { cause });
  }
  const parsed = reportSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue?.path.join('.') || 'the whole';
  const how = 'plenum bench --json FILE writes one';
  throw new PlenumError('usage', `${file} is no report (${where}: ${issue?.message}); ${how}`);
}

/** Targets of the same name; the two alone, where each report has one. */
function pairingsOf(a: Report, b: Report, files: readonly [string, string]): Pairing[] {
  const [first, ...moreA] = a.targets.map(({ name }) => name);
  const [second, ...moreB] = b.targets.map(({ name }) => name);
  if (first !== undefined && second !== undefined && moreA.length + moreB.length === 0) {
    return [{ baseline: first, target: second }];
  }
  const names = b.targets.map(({ name }) => name);
  const common = a.targets.map(({ name }) => name).filter((name) => names.includes(name));
  if (common.length > 0) return common.map((name) => ({ baseline: name, target: name }));
  const list = (report: Report): string => report.targets.map(({ name }) => name).join(', ');
  const had = `${files[0]} has ${list(a)}; ${files[1]} has ${list(b)}`;
  throw new PlenumError('usage', `The reports have no target of the same name: ${had}`);
}

interface Both {
  readonly a: Report;
  readonly b: Report;
}

/** A name for each side, also where both are called the same. */
function sidesOf({ baseline, target }: Pairing): Pairing {
  return baseline === target
    ? { baseline: `${baseline} (A)`, target: `${target} (B)` }
    : { baseline, target };
}

/** One group for each point that both have. */
function comparedPoints(
  pair: Pairing,
  both: Both & { readonly allowance: number },
): Comparison[][] {
  const { a, b, allowance } = both;
  const points = pointsOf(b.runs.filter(({ target }) => target === pair.target));
  return points
    .map((point) =>
      compareSeparate({
        ask: { ...sidesOf(pair), point, slo: null },
        baseline: { runs: runsAt(a.runs, pair.baseline, point), slo: a.setup.slo },
        target: { runs: runsAt(b.runs, pair.target, point), slo: b.setup.slo },
        allowance,
      }),
    )
    .filter((group) => group.length > 0);
}

/** A value is of B; a ratio is B over A. One for each point. */
function heldBy(threshold: Threshold, pair: Pairing, { a, b }: Both): Held[] {
  const { metric, statistic } = threshold;
  return b.summaries
    .filter(({ target }) => target === pair.target)
    .map((summary) => {
      const partner = a.summaries.find(
        ({ target, point }) =>
          target === pair.baseline && JSON.stringify(point) === JSON.stringify(summary.point),
      );
      const value = findEstimate(summary, metric, statistic)?.value ?? null;
      const first = partner && findEstimate(partner, metric, statistic)?.value;
      const { target } = sidesOf(pair);
      if (threshold.of === 'value') return { target, actual: value };
      return { target, actual: ratioOf(value, first ?? null) };
    });
}

/** What was not the same, as sentences; ends of commands and dates are not looked at. */
function differencesOf(a: Report, b: Report): string[] {
  const [one, other] = [factsOf(a), factsOf(b)];
  const names = [...new Set([...Object.keys(one), ...Object.keys(other)])];
  const differing = names
    .filter((name) => one[name] !== other[name])
    .map((name) => `${name}: ${one[name] ?? 'none'} in A, ${other[name] ?? 'none'} in B`);
  const partial = [...(a.partial ? ['A is partial'] : []), ...(b.partial ? ['B is partial'] : [])];
  return [...differing, ...partial];
}

function factsOf({ setup, runs, targets }: Report): Record<string, string> {
  const { machine, versions, scenario, load } = setup;
  const hashes = runs
    .filter(({ wallMs, repetition }) => wallMs > 0 && repetition === 1)
    .map((run) => run.requestsSha256);
  return {
    scenario: scenario.description,
    seed: String(setup.seed),
    load: load.mode === 'closed' ? `${load.clients} clients` : `${load.rate ?? 'file'} req/s`,
    repetitions: String(setup.repetitions),
    duration: String(setup.durationMs ?? 'by count'),
    'requests of a run': String(setup.requests ?? 'by time'),
    'requests (their hash)': [...new Set(hashes)].map((hash) => hash.slice(0, 8)).join(' '),
    objective: JSON.stringify(setup.slo),
    processor: `${machine.cpu}, ${machine.cores} logical`,
    memory: String(machine.memoryBytes),
    gpu: String(machine.gpu),
    system: machine.os,
    plenum: versions.plenum,
    node: versions.node,
    models: [...new Set(targets.map(({ model }) => model ?? 'unknown'))].join(', '),
    ...Object.fromEntries(
      Object.entries(scenario.settings).map(([name, value]) => [name, String(value)]),
    ),
  };
}

interface Printed {
  readonly files: readonly [string, string];
  readonly differences: readonly string[];
  readonly allowance: number;
  readonly groups: readonly (readonly Comparison[])[];
}

function print({ files, differences, allowance, groups }: Printed, context: CliContext): void {
  const { stdout } = context;
  const write = (text: string): void => stdout.write(text);
  write(`A: ${files[0]}\nB: ${files[1]}\n\n`);
  if (differences.length === 0) write('Both were made in the same way.\n');
  else write(`${paint(stdout, 'bold', 'What differs in how they were made')}\n`);
  for (const line of differences) write(paragraph(`- ${line}`, stdout, { hang: 2 }));
  if (groups.length === 0) write('\nThey have no valid runs at the same point.\n');
  for (const group of groups) {
    const point = group[0]?.point ?? null;
    if (point !== null) write(`\n${paint(stdout, 'bold', `${point.axis} ${point.value}`)}`);
    write(`\n${comparisonRows(group, context)}\n`);
    write(paragraph(headline(group), stdout));
  }
  const percent = formatValue('errorShare', allowance);
  write('\n');
  const why = `The reports were made at different times: differences up to ${percent} are put down to the machine (--allowance). Targets of one report are compared more sharply.`;
  write(paragraph(why, stdout));
}

function comparisonRows(group: readonly Comparison[], { stdout }: CliContext): string {
  const rows = group.map(({ metric, statistic, ratio, low, high, verdict }) => [
    titleOf(metric, statistic),
    ratio === null ? '–' : ratioText(ratio),
    low === null || high === null ? '–' : `${ratioText(low)} … ${ratioText(high)}`,
    verdict === 'indistinguishable' ? 'not distinguishable' : verdict,
  ]);
  return columns(['', 'B / A', '95 % interval', 'verdict'], rows, stdout, { right: [1, 2] });
}
