/** `plenum bench`: measures, shows, writes its reports, and says by its exit code what held. */
import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { PlenumError } from '../../base/errors.ts';
import { runBench } from '../../bench/bench.ts';
import { findMeter } from '../../bench/power/meter.ts';
import type { Report } from '../../bench/result.ts';
import {
  heldBySummaries,
  judgeThreshold,
  parseThreshold,
  type Threshold,
} from '../../bench/stats/threshold.ts';
import type { CliContext } from '../context.ts';
import { factsOf, withFacts } from './facts.ts';
import type { BenchFlags } from './flags.ts';
import { liveOf } from './live.ts';
import { showReport } from './show.ts';
import { toSpec } from './to-spec.ts';

export async function bench(
  flags: BenchFlags,
  argv: readonly string[],
  context: CliContext,
): Promise<void> {
  const thresholds = (flags.threshold ?? []).map(parseThreshold);
  const facts = await factsOf(flags, context);
  const { meter } = await findMeter();
  const spec = { ...(await toSpec(flags, argv, context)), meter };
  const signal = context.interrupted();
  const live = liveOf(spec, context.stderr);
  let report: Report;
  try {
    report = withFacts(await runBench(spec, { signal, watcher: live }), facts);
  } finally {
    live.end();
  }
  await writeReports(report, flags, context);
  if (flags.json !== '-') showReport(report, context.stdout);
  const isKept = judge(thresholds, report, context);
  if (signal.aborted) context.setExitCode(130);
  else if (!isKept || !report.runs.some(({ valid }) => valid)) context.setExitCode(1);
}

async function writeReports(report: Report, flags: BenchFlags, context: CliContext): Promise<void> {
  const text = `${JSON.stringify(report)}\n`;
  if (flags.json === '-') context.stdout.write(text);
  else if (flags.json !== undefined) await write(flags.json, text, context);
  if (flags.html === undefined) return;
  const { reportPage } = await import('../../bench/report/page.ts');
  await write(flags.html, reportPage(report), context);
}

async function write(path: string, text: string, { cwd }: CliContext): Promise<void> {
  try {
    await writeFile(resolve(cwd, path), text);
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new PlenumError('usage', `${path} cannot be written: ${why}`, { cause: thrown });
  }
}

/** Prints each that does not hold; what was not measured does not hold. */
function judge(thresholds: readonly Threshold[], report: Report, context: CliContext): boolean {
  let isKept = true;
  for (const threshold of thresholds) {
    const judged = judgeThreshold(threshold, heldBySummaries(threshold, report.summaries));
    for (const { outcome, sentence } of judged) {
      context.stderr.write(`${sentence}\n`);
      if (outcome !== 'kept') isKept = false;
    }
    if (judged.length === 0) {
      context.stderr.write(`${threshold.text}: nothing was measured that it is about\n`);
      isKept = false;
    }
  }
  return isKept;
}
