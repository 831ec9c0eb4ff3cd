import { describe, expect, it } from 'vitest';
import type { Report } from '../result.ts';
import { compareTargets } from '../stats/comparison.ts';
import { FIXTURE_RECORD, noisyReport } from '../stats/fixture-noise.ts';
import { findKnees } from '../stats/knee.ts';
import { summarise } from '../stats/summary.ts';
import { html } from './html.ts';
import { reportPage } from './page.ts';

const HOSTILE = `"'></svg></style><script>alert(1)</script><img src=x onerror=alert(2)>&amp;\u202e`;

type Measured = Pick<Report, 'runs' | 'setup' | 'targets'>;

function reportOf(measured: Measured, changes: Partial<Report> = {}): Report {
  return {
    format: 'plenum-bench',
    version: 1,
    createdAt: '2026-01-01T00:00:00Z',
    partial: false,
    ...measured,
    summaries: summarise(measured),
    comparisons: compareTargets(measured),
    knees: findKnees(measured),
    notes: [],
    ...changes,
  };
}

const noisy = (factor = 1.3): Measured =>
  noisyReport({ seed: 1, repetitions: 6, factor, noise: 0.02 });

/** Every name and text that a target or a user can choose is the hostile one. */
function hostileReport(): Report {
  const base = noisy();
  const rename = (name: string): string => `${name}${HOSTILE}`;
  const error = { kind: 'garbage', message: HOSTILE, status: 500 } as const;
  const measured: Measured = {
    runs: base.runs.map((run) => ({
      ...run,
      target: rename(run.target),
      valid: run.repetition < 6,
      notes: [HOSTILE],
      records: [...run.records, { ...FIXTURE_RECORD, outcome: 'error' as const, error }],
    })),
    targets: base.targets.map((target) => ({
      ...target,
      name: rename(target.name),
      url: HOSTILE,
      command: HOSTILE,
      model: HOSTILE,
      server: HOSTILE,
      quirks: [HOSTILE],
    })),
    setup: {
      ...base.setup,
      command: ['plenum', HOSTILE],
      scenario: { name: 'chat', description: HOSTILE, settings: { [HOSTILE]: HOSTILE } },
      machine: { ...base.setup.machine, cpu: HOSTILE, os: HOSTILE, gpu: HOSTILE },
    },
  };
  const rates = { measured: 1, predicted: null, errorPct: null, limit: 2 };
  const at = { target: HOSTILE, point: null };
  return reportOf(measured, {
    notes: [HOSTILE],
    predictions: [{ ...at, users: 1, decode: rates, prefill: rates, basis: HOSTILE }],
    costs: [
      {
        ...at,
        ...{ joulesPerToken: 1, wattsMean: 2, source: 'modelled', meter: HOSTILE },
        ...{ usdPerMtok: null, energyUsdPerMtok: 1, basis: HOSTILE },
      },
    ],
  });
}

describe('the page of a report', () => {
  const page = reportPage(reportOf(noisy()));

  it('says the verdict, the figures and the set-up', () => {
    expect(page).toContain('<li>b against a: worse in time to first token p50 (+');
    for (const part of ['Latency', 'Distributions', 'Side by side', 'The measuring client']) {
      expect(page).toContain(`<h2>${part}</h2>`);
    }
    expect(page).toContain('<dt>Seed</dt><dd>1</dd>');
    expect(page.match(/<svg /g)?.length).toBeGreaterThanOrEqual(6);
    expect(page).not.toMatch(/NaN|Infinity|undefined|\[object/);
  });

  it('asks nothing of the network', () => {
    const page = reportPage(hostileReport());
    expect(page).toContain(`default-src 'none'`);
    const named = [...page.matchAll(/\s(?:src|href|srcset|action)=|url\(|@import/g)];
    // What the hostile strings wrote is text, with its signs escaped.
    expect(
      named.every(({ index }) => page.slice(index - 5, index).includes('&lt;img'.slice(-5))),
    ).toBe(true);
  });

  it('lets nothing that a target says become a part of it', () => {
    const page = reportPage(hostileReport());
    expect(page).not.toMatch(/<script|<img|\u202e/);
    expect(page.match(/<\/style>/g)).toHaveLength(1);
    expect(page).toContain('&lt;script&gt;alert(1)&lt;/script&gt;');
    // No attribute has more than our own words in it.
    for (const [tag] of page.matchAll(/<[a-z][^>]*>/g)) expect(tag).not.toMatch(/alert|onerror/);
    const opened = page.match(/<(table|figure|dl|ul|div|svg)[ >]/g)?.length;
    expect(page.match(/<\/(table|figure|dl|ul|div|svg)>/g)?.length).toBe(opened);
  });

  it('marks what is modelled, unknown, left out and partial', () => {
    const page = reportPage({ ...hostileReport(), partial: true });
    expect(page).toContain('<b>modelled</b>');
    expect(page).toContain('unknown');
    expect(page).toContain('This report is partial');
    expect(page).toContain('2 of 12 runs are left out');
    expect(page.match(/<li>a&quot;.*, repetition 6/g)).toHaveLength(1);
  });

  it('of a sweep has its knees and what more load gives', () => {
    const base = noisy(1);
    const runs = base.runs.map((run) => ({
      ...run,
      repetition: 1,
      point: { axis: 'clients' as const, value: run.repetition },
    }));
    const page = reportPage(reportOf({ ...base, runs }));
    expect(page).toContain('Throughput against latency');
    expect(page).toMatch(/a sweep from 1 client to 6 clients/);
    expect(page).toContain('throughput stops growing');
    expect(page).toContain('At 6 clients.');
  });

  it('can be made of nothing at all', () => {
    const { setup, targets } = noisy();
    for (const some of [targets, []]) {
      const page = reportPage(reportOf({ setup, targets: some, runs: [] }, { partial: true }));
      expect(page).toContain('</html>');
      expect(page).not.toMatch(/NaN|Infinity|undefined/);
    }
  });
});

describe('html', () => {
  it('escapes what is put in, once, and not what it made', () => {
    const inner = html`<b>${'<&"\''}</b>`;
    expect(html`${inner}${null}${['<', 1]}`.text).toBe('<b>&lt;&amp;&quot;&#39;</b>&lt;1');
  });

  it('shows control characters and marks of direction as a sign', () => {
    expect(html`${'a\u0000b\u202ec\nd'}`.text).toBe('a\ufffdb\ufffdc\nd');
  });
});
