import { expect, test } from 'vitest';
import type { LOG_LEVELS } from './log.ts';
import type { ModelSample } from './metrics.ts';
import { createTelemetry } from './telemetry.ts';

function make(level: (typeof LOG_LEVELS)[number] = 'info') {
  const lines: string[] = [];
  const telemetry = createTelemetry({
    level,
    version: '9.9.9',
    destination: { write: (line) => lines.push(line) },
  });
  return { ...telemetry, lines };
}

const sample: ModelSample = {
  model: 'm',
  ready: true,
  restarts: 2,
  report: {
    waiting: 0,
    running: 1,
    predictedWaitMs: 0,
    cells: { free: 1, cached: 2, held: 3 },
    steps: { count: 7, predictedMsSum: 10, measuredMsSum: 20, overheadMsSum: 1, ratio: 2 },
    preemptions: 4,
    memory: { rssBytes: 5 },
  },
};

test('a log line is one JSON object with a level in words and an ISO time', () => {
  const { log, lines } = make();
  log.debug('unseen');
  log.info({ a: 1 }, 'seen');
  expect(lines.map((line) => JSON.parse(line))).toEqual([
    { level: 'info', time: expect.stringMatching(/^\d{4}-\d\d-\d\dT/), a: 1, msg: 'seen' },
  ]);
});

test('what is named like a secret is censored, also one level down', () => {
  const { log, lines } = make();
  log.info({ authorization: 'Bearer x1', headers: { authorization: 'Bearer x2' } }, 'a');
  log.info({ prompt: 'x3', request: { messages: ['x4'], content: 'x5', apiKey: 'x6' } }, 'b');
  expect(lines.join('')).not.toMatch(/x\d/);
  expect(lines.join('')).toContain('[censored]');
});

test('silent is silent', () => {
  const { log, lines } = make('silent');
  log.fatal('x');
  expect(lines).toEqual([]);
});

test('a model that is no longer served disappears from the gauges', async () => {
  const { metrics } = make();
  let samples: readonly ModelSample[] = [sample];
  metrics.sampleFrom(() => samples);
  expect(await metrics.text()).toContain('plenum_model_ready{model="m"} 1');
  samples = [];
  const page = await metrics.text();
  expect(page).not.toContain('plenum_model_ready{model="m"}');
  expect(page).not.toContain('plenum_process_resident_bytes{process="m"}');
  expect(page).toContain('plenum_steps_total{model="m"} 7');
});

test('scraping twice counts nothing twice', async () => {
  const { metrics } = make();
  metrics.sampleFrom(() => [sample]);
  await metrics.text();
  const page = await metrics.text();
  expect(page).toContain('plenum_steps_total{model="m"} 7');
  expect(page).toContain('plenum_host_restarts_total{model="m"} 2');
  expect(page).toContain('plenum_preemptions_total{model="m"} 4');
  expect(page).toContain('plenum_step_seconds_total{model="m",kind="measured"} 0.02');
});

test('durations are exported in seconds', async () => {
  const { metrics } = make();
  metrics.ttft('m', 250);
  metrics.interToken('m', 20);
  const page = await metrics.text();
  expect(page).toContain('plenum_ttft_seconds_sum{model="m"} 0.25');
  expect(page).toContain('plenum_inter_token_seconds_sum{model="m"} 0.02');
});

test('two telemetries do not share a registry', async () => {
  const one = make();
  const other = make();
  one.metrics.ttft('m', 1);
  expect(await other.metrics.text()).not.toContain('plenum_ttft_seconds_count{model="m"}');
});
