/**
 * A whole bench on servers that behave and misbehave: its report is valid whatever happens, targets
 * get the same requests in turn, and what it starts is gone when it ends.
 */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { runBench } from './bench.ts';
import {
  type Behaviour,
  type FixtureTarget,
  fixtureTarget,
  goodTarget,
  reply,
  startStream,
} from './client/fixture-target.ts';
import { REQUEST_LIMITS } from './client/limits.ts';
import { fixed } from './load/lengths.ts';
import { SCENARIO_DEFAULTS } from './load/scenario.ts';
import { type Report, reportSchema } from './result.ts';
import type { BenchSpec, BenchWatcher, TargetSpec } from './spec.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});
const folder = await mkdtemp(join(tmpdir(), 'plenum-bench-test-'));
afterAll(() => rm(folder, { recursive: true }));

const SILENT: BenchWatcher = {
  phase: () => undefined,
  sample: () => undefined,
  ran: () => undefined,
};

const NO_LIMITS = {
  ...{ cpuShareMax: Infinity, parseP90MsMax: Infinity },
  ...{ lateP90MsMax: Infinity, loopP90MsMax: Infinity },
};

function specOf(targets: readonly TargetSpec[], more: Partial<BenchSpec> = {}): BenchSpec {
  return {
    targets,
    settings: { scenario: 'chat', ...SCENARIO_DEFAULTS.chat, promptTokens: fixed(8) },
    ...{ trace: null, endpoint: 'chat', arrivals: null, users: 4, points: null, flood: null },
    load: { mode: 'closed', clients: 2 },
    ...{ durationMs: null, requests: 6, repetitions: 2, warmupRequests: 1, seed: 1, slo: null },
    limits: { ...REQUEST_LIMITS, firstMsMax: 5000 },
    // What is tested is not how busy this machine is.
    clientLimits: NO_LIMITS,
    ...{ startMsMax: 20_000, drainMsMax: 100, readyPath: null, keepSpawned: false },
    machine: { os: 'x', arch: 'x', cpu: 'x', cores: 1, memoryBytes: 1, gpu: null },
    versions: { plenum: '0', node: '0' },
    command: [],
    ...more,
  };
}

async function served(behave: Behaviour = goodTarget): Promise<FixtureTarget> {
  const target = await fixtureTarget(behave);
  closers.push(() => target.close());
  return target;
}

const at = (name: string, { url }: FixtureTarget): TargetSpec => ({
  name,
  from: { url },
  model: null,
  apiKey: null,
});

async function run(spec: BenchSpec, watcher = SILENT, signal?: AbortSignal): Promise<Report> {
  const report = await runBench(spec, { signal: signal ?? new AbortController().signal, watcher });
  expect(reportSchema.parse(JSON.parse(JSON.stringify(report)))).toEqual(report);
  return report;
}

const completions = ({ seen }: FixtureTarget): string[] =>
  seen.filter(({ body }) => body.includes('"max_tokens":128')).map(({ body }) => body);

describe('two targets', () => {
  it('get the same bytes in turn, A B B A, and are summarised and compared', async () => {
    const [a, b] = [await served(), await served()];
    const report = await run(specOf([at('a', a), at('b', b)], { repetitions: 3 }));
    expect(completions(a).toSorted()).toEqual(completions(b).toSorted());
    expect(completions(a)).toHaveLength(3 * (6 + 1));
    expect(report.runs.map(({ target }) => target).join('')).toBe('abbaab');
    const shas = report.runs.map(({ requestsSha256 }) => requestsSha256);
    expect(shas[0]).toBe(shas[1]);
    expect(shas[2]).not.toBe(shas[0]);
    expect(report.partial).toBe(false);
    expect(report.runs.map(({ records }) => records.length)).toEqual(Array(6).fill(6));
    expect(report.runs.map(({ warmup }) => warmup.length)).toEqual(Array(6).fill(1));
    expect(report.summaries.map(({ target, requests }) => [target, requests])).toHaveLength(2);
    expect(report.comparisons.length).toBeGreaterThan(0);
    expect(report.targets[0]).toMatchObject({ name: 'a', model: 'm', tokenizer: 'calibrated' });
  });

  it('get only what both of them understand', async () => {
    const strict = await served((response, request) => {
      const isUnknown = request.body.includes('ignore_eos');
      if (isUnknown) reply(response, 400, { error: { message: 'unknown field ignore_eos' } });
      else goodTarget(response, request);
    });
    const good = await served();
    const report = await run(specOf([at('good', good), at('strict', strict)]));
    expect(report.targets[1]?.quirks.join()).toContain('refuses ignore_eos');
    const measured = good.seen.filter(({ body }) => body.includes('"max_tokens":128'));
    expect(measured.every(({ body }) => !body.includes('ignore_eos'))).toBe(true);
    const outcomes = report.runs.flatMap(({ records }) => records.map(({ outcome }) => outcome));
    expect(new Set(outcomes)).toEqual(new Set(['ok']));
  });
});

describe('an open loop', () => {
  it('counts latency from the moment intended, behind a server that stalls', async () => {
    const target = await served();
    const arrivals = [0, 40, 40, 120];
    const load = { mode: 'open', rate: null, arrivals: 'file' } as const;
    const report = await run(specOf([at('a', target)], { load, arrivals, requests: null }));
    for (const { records } of report.runs) {
      expect(records.map(({ intendedMs }) => intendedMs)).toEqual(arrivals);
      for (const { intendedMs, sentMs } of records) {
        expect(sentMs).toBeGreaterThanOrEqual(intendedMs - 0.01);
      }
    }
  });

  it('does not wait for answers, and cuts off what is late when its time is over', async () => {
    const target = await served((response, request) => {
      const isMeasured = request.body.includes('"max_tokens":128');
      if (isMeasured) startStream(response);
      else goodTarget(response, request);
    });
    const load = { mode: 'open', rate: 200, arrivals: 'poisson' } as const;
    const more = { load, durationMs: 200, requests: null, warmupRequests: 0, repetitions: 1 };
    const report = await run(specOf([at('a', target)], more));
    const [first] = report.runs;
    expect(first?.records.length).toBeGreaterThan(20);
    expect(first?.records.every(({ outcome }) => outcome === 'aborted')).toBe(true);
    expect(first?.valid).toBe(false);
  });
});

describe('a target that misbehaves', () => {
  it('from some request on gives error rows, and the bench goes on', async () => {
    let measured = 0;
    const target = await served((response, request) => {
      if (request.body.includes('"max_tokens":128')) measured += 1;
      if (measured > 4) response.destroy();
      else goodTarget(response, request);
    });
    const report = await run(specOf([at('a', target)]));
    expect(report.runs).toHaveLength(2);
    expect(report.summaries[0]?.errors).toMatchObject({ connection_lost: 9 });
    expect(report.runs[1]).toMatchObject({ valid: false, notes: ['no request succeeded'] });
  });

  it('is not asked for ever by a loop that it fails at once', async () => {
    const target = await served((response, request) => {
      if (request.body.includes('"max_tokens":128')) reply(response, 500, {});
      else goodTarget(response, request);
    });
    const more = { durationMs: 60_000, requests: null, warmupRequests: 0, repetitions: 1 };
    const report = await run(specOf([at('a', target)], more));
    expect(report.runs[0]?.notes.join()).toContain('100 errors one after the other');
  });

  it('at every request is what a run is said to lack, before how busy the client was', async () => {
    const target = await served((response, request) => {
      if (request.body.includes('"max_tokens":128')) reply(response, 404, {});
      else goodTarget(response, request);
    });
    const clientLimits = { ...NO_LIMITS, cpuShareMax: 0 };
    const report = await run(specOf([at('a', target)], { clientLimits, repetitions: 1 }));
    const [first] = report.runs;
    expect(first?.valid).toBe(false);
    expect(first?.notes).toEqual([
      'no request succeeded',
      expect.stringMatching(/^the client was the bottleneck: the client took/),
    ]);
  });

  it('that nobody can reach, or that wants a key, is said so at once', async () => {
    const gone = await fixtureTarget(goodTarget);
    await gone.close();
    await expect(run(specOf([at('gone', gone)]))).rejects.toThrow(/gone: .* does not answer/);
    const locked = await served((response) => reply(response, 401, { error: { message: 'no' } }));
    await expect(run(specOf([at('locked', locked)]))).rejects.toThrow(/401: no; .*--api-key-env/);
  });
});

it('a sweep stops at the point that breaks its target', async () => {
  let open = 0;
  const target = await served((response, request) => {
    open += 1;
    response.on('close', () => {
      open -= 1;
    });
    if (open > 2) reply(response, 503, {});
    else setImmediate(() => goodTarget(response, request));
  });
  const values = [1, 2, 16, 32];
  const points = values.map((value) => ({ axis: 'clients' as const, value }));
  const report = await run(specOf([at('a', target)], { points, requests: 64, repetitions: 1 }));
  const measured = report.runs.map(({ point }) => point?.value);
  expect(measured.slice(0, 2)).toEqual([1, 2]);
  expect(report.knees.length).toBeGreaterThan(0);
});

it('Ctrl-C leaves a valid report of what was measured', async () => {
  const target = await served();
  const abort = new AbortController();
  const watcher = { ...SILENT, sample: () => abort.abort() };
  const more = { durationMs: 60_000, requests: null, repetitions: 5 };
  const report = await run(specOf([at('a', target)], more), watcher, abort.signal);
  expect(report.partial).toBe(true);
  expect(report.runs).toHaveLength(1);
  expect(report.runs[0]).toMatchObject({ valid: true, notes: ['interrupted'] });
  expect(report.runs[0]?.records.length).toBeGreaterThan(0);
});

it('a flood of vectors runs beside a chat, with rows of its own', async () => {
  const target = await served();
  const report = await run(
    specOf([at('a', target)], {
      settings: { scenario: 'mixed', ...SCENARIO_DEFAULTS.mixed },
      flood: { model: 'e', rate: 200 },
      ...{ durationMs: 300, requests: null, repetitions: 1 },
    }),
  );
  const kinds = new Set(report.runs[0]?.records.map(({ kind }) => kind));
  expect(kinds).toEqual(new Set(['chat', 'embed']));
});

/** One that has ended and that nobody has collected does not run. */
function isRunning(pid: number): boolean {
  const { stdout } = spawnSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' });
  return stdout.trim() !== '' && !stdout.includes('Z');
}

describe('a spawned server', () => {
  const script = join(folder, 'server.cjs');
  // It starts a child of its own, as servers do; both must be gone afterwards.
  writeFileSync(
    script,
    `const { spawn } = require('node:child_process');
const { createServer } = require('node:http');
const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
const chunk = (c, f) => 'data: ' + JSON.stringify({ choices: [{ delta: c, finish_reason: f }] }) + '\\n\\n';
createServer((q, r) => {
  q.resume().on('end', () => {
    if (q.url === '/v1/models') return r.end(JSON.stringify({ data: [{ id: String(child.pid) }] }));
    if (!q.url.startsWith('/v1/chat')) return r.writeHead(404).end();
    r.writeHead(200, { 'content-type': 'text/event-stream' });
    r.end(chunk({ content: 'a' }) + chunk({}, 'stop') + 'data: [DONE]\\n\\n');
  });
}).listen(Number(process.argv[2]), '127.0.0.1');
`,
  );
  const spawned = (command: string): TargetSpec => ({
    name: 's',
    from: { command },
    model: null,
    apiKey: null,
  });

  it('is started, measured with its memory, and ended with all that it started', async () => {
    const target = spawned(`"${process.execPath}" "${script}" {port}`);
    const report = await run(specOf([target], { repetitions: 1 }));
    const [first] = report.targets;
    expect(first?.coldStarts).toHaveLength(1);
    expect(first?.coldStarts[0]?.first?.outcome).toBe('ok');
    expect(report.runs[0]?.resources?.memoryPeakBytes).toBeGreaterThan(1e6);
    expect(report.runs[0]?.resources?.processes).toBeGreaterThanOrEqual(2);
    const child = Number(first?.model);
    expect(child).toBeGreaterThan(1);
    expect(isRunning(child)).toBe(false);
  });

  it('that ends at once is an error with what it printed', async () => {
    const target = spawned('echo cannot open model for {port} >&2; exit 3');
    await expect(run(specOf([target]))).rejects.toThrow(/s: it ended .*\n.*cannot open model/s);
  });
});
