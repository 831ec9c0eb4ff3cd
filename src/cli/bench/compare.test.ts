import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Report } from '../../bench/result.ts';
import { type NoiseSpec, noisyReport } from '../../bench/stats/fixture-noise.ts';
import { summarise } from '../../bench/stats/summary.ts';
import { fakeContext } from '../fixture.ts';
import { runProgram } from '../program.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'plenum-compare-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

async function plenum(...argv: readonly string[]) {
  const context = fakeContext({ env: { HOME: folder }, cwd: folder });
  const code = await runProgram(['bench', 'compare', ...argv], context);
  return { code, out: context.out, err: context.err };
}

/** The report of one target, `b`, that is so much slower than the fixture's first. */
function reportOf(spec: Partial<NoiseSpec>, changes: Partial<Report> = {}): Report {
  const base = { seed: 1, repetitions: 6, noise: 0.01, factor: 1 };
  const { runs, setup, targets } = noisyReport({ ...base, ...spec });
  const own = runs.filter(({ target }) => target === 'b');
  const measured = { runs: own, setup, targets: targets.slice(1) };
  return {
    format: 'plenum-bench',
    version: 1,
    createdAt: '2026-01-01T00:00:00Z',
    partial: false,
    ...measured,
    summaries: summarise(measured),
    comparisons: [],
    knees: [],
    notes: [],
    ...changes,
  };
}

const save = (name: string, content: unknown): Promise<void> =>
  writeFile(join(folder, name), JSON.stringify(content));

describe('plenum bench compare', () => {
  it('finds what is slower, and says that the reports are of different times', async () => {
    await save('a.json', reportOf({}));
    await save('b.json', reportOf({ factor: 1.3, seed: 2 }));
    const { code, out } = await plenum('a.json', 'b.json');
    expect(code).toBe(0);
    expect(out).toContain('Both were made in the same way.');
    expect(out).toMatch(/time to first token, p50 +1\.\d+ +1\.\d+ … 1\.\d+ +worse/);
    expect(out).toMatch(/b \(B\) against b \(A\): worse in time to first token\s+p50/);
    expect(out).toMatch(/differences up to 5 % are\s+put down to\s+the\s+machine/);
  });

  it('cannot tell equal ones apart', async () => {
    await save('a.json', reportOf({}));
    await save('b.json', reportOf({ factor: 1.02, seed: 2 }));
    expect((await plenum('a.json', 'b.json')).out).toMatch(/not distinguishable in any of/);
  });

  it('lists what differs in the set-up', async () => {
    const a = reportOf({});
    await save('a.json', a);
    const machine = { ...a.setup.machine, cpu: 'another' };
    const runs = a.runs.map((run) => ({ ...run, requestsSha256: '0'.repeat(64) }));
    await save('b.json', { ...a, runs, setup: { ...a.setup, seed: 2, machine }, partial: true });
    const { out } = await plenum('a.json', 'b.json');
    expect(out).toContain('- seed: 1 in A, 2 in B');
    expect(out).toContain('- processor: a cpu, 2 logical in A, another, 2 logical in B');
    expect(out).toContain('- requests (their hash): ffffffff in A, 00000000 in B');
    expect(out).toContain('- B is partial');
    expect(out).not.toContain('- scenario');
  });

  it('ends with 1 when a threshold does not hold, and prints which', async () => {
    await save('a.json', reportOf({}));
    await save('b.json', reportOf({ factor: 1.3, seed: 2 }));
    const kept = await plenum('a.json', 'b.json', '--threshold', 'ttft.p95<1.5');
    expect([kept.code, kept.err]).toEqual([0, expect.stringContaining('kept by b (B) with 1.')]);
    const both = ['--threshold', 'ttft.p95<1.5', '--threshold', 'ttft.p50<100ms'];
    const broken = await plenum('a.json', 'b.json', ...both);
    expect(broken.code).toBe(1);
    expect(broken.err).toMatch(/ttft\.p50<100ms: broken by b \(B\) with 2\d\d ms/);
  });

  it('prints JSON', async () => {
    await save('a.json', reportOf({}));
    const { out } = await plenum('a.json', 'a.json', '--json', '--allowance', '10');
    const { allowance, comparisons, differences } = JSON.parse(out);
    expect([allowance, differences]).toEqual([0.1, []]);
    expect(comparisons[0]).toMatchObject({ metric: 'ttft', verdict: 'indistinguishable' });
  });

  it('refuses what it cannot compare, saying why', async () => {
    await save('a.json', reportOf({}));
    await save('no.json', { format: 'other' });
    const [target] = reportOf({}).targets;
    const others = ['x', 'y'].map((name) => ({ ...target, name }));
    await save('others.json', reportOf({}, { targets: others as Report['targets'] }));
    const err = async (...argv: string[]): Promise<string> => {
      const { code, err: text } = await plenum(...argv);
      expect(code).toBe(2);
      return text;
    };
    expect(await err('a.json', 'none.json')).toMatch(/none.json cannot be read as a report/);
    expect(await err('a.json', 'no.json')).toMatch(/no.json is no report \(format: /);
    expect(await err('a.json', 'others.json')).toMatch(/no target of the same name: .* x, y/);
    expect(await err('a.json', 'a.json', '--allowance', 'x')).toMatch(/from 0 to 100/);
    expect(await err('a.json', 'a.json', '--threshold', 'tfft<1')).toMatch(/did you mean/);
  });
});
