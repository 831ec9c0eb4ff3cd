/**
 * `plenum bench` from outside on two real `plenum serve` that it starts itself, whose simulated
 * engines have the same speed and noise of different seeds. What does not depend on how busy this
 * machine is: the same requests reach both, all are answered at their length, and nothing is left.
 * That equal targets are not told apart is tried in virtual time (test/bench-verdict.test.ts): here
 * it would fail one time in twenty, and more often on a busy machine.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, expect, it, vi } from 'vitest';
import { reportSchema } from '../../src/bench/result.ts';
import { launch, stopAll, temporaryFolder } from './server.ts';

vi.setConfig({ testTimeout: 120_000 });
afterAll(stopAll);

const MAIN = join(import.meta.dirname, '../../src/cli/main.ts');
const REQUESTS = 6;
const REPETITIONS = 2;
const TOKENS = 8;

const serve = (seed: number): string =>
  `"${process.execPath}" "${MAIN}" serve sim:fixed_ms=4,noise=0.05,seed=${seed} --port {port}`;

it('measures two servers that it starts, with the same requests for both', async () => {
  const folder = await temporaryFolder();
  const bench = launch(
    [
      ...['bench', '--spawn', `a=${serve(1)}`, '--spawn', `b=${serve(2)}`],
      ...['--scenario', 'chat', '--prompt-tokens', '16', '--output-tokens', String(TOKENS)],
      ...['--clients', '2', '--requests', String(REQUESTS), '--warmup', '1', '--json', 'r.json'],
      ...['--repetitions', String(REPETITIONS), '--html', 'r.html'],
    ],
    { cwd: folder, home: folder },
  );
  const { code } = await bench.exited;
  // 1: this machine was so busy that the client was the bottleneck in every run.
  expect([0, 1], bench.output).toContain(code);
  const text = await readFile(join(folder, 'r.json'), 'utf8');
  const report = reportSchema.parse(JSON.parse(text));
  expect(report.partial).toBe(false);
  expect(report.runs.map(({ target }) => target).join('')).toBe('abba');
  for (const { name, tokenizer, coldStarts } of report.targets) {
    // The words of prompts are not one token each in the simulated vocabulary.
    expect([name, tokenizer]).toEqual([name, 'calibrated']);
    // One to get to know it, and one for each of its runs.
    expect(coldStarts).toHaveLength(1 + REPETITIONS);
  }
  const asked = (target: string) =>
    report.runs
      .filter((run) => run.target === target)
      .toSorted((a, b) => a.repetition - b.repetition)
      .map(({ requestsSha256, records }) => ({
        requestsSha256,
        records: records
          .toSorted((a, b) => a.index - b.index)
          .map(({ index, promptTokens, outputTokens, outputTokensFrom, outcome, finish }) => ({
            ...{ index, promptTokens, outputTokens, outputTokensFrom, outcome, finish },
          })),
      }));
  expect(asked('a')).toEqual(asked('b'));
  const records = report.runs.flatMap((run) => run.records);
  expect(records).toHaveLength(2 * REPETITIONS * REQUESTS);
  for (const record of records) {
    const answer = { outputTokens: TOKENS, outputTokensFrom: 'usage', finish: 'length' };
    expect(record).toMatchObject({ outcome: 'ok', error: null, ...answer });
  }
  for (const { resources } of report.runs) {
    expect(resources?.memoryPeakBytes).toBeGreaterThan(1e6);
  }
  expect(await readFile(join(folder, 'r.html'), 'utf8')).toContain('<!doctype html>');
});
