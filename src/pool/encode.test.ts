/** Requests for vectors, between real processes (on the simulated engine). */
import { afterEach, expect, it } from 'vitest';
import { systemClock } from '../base/clock.ts';
import { PlenumError } from '../base/errors.ts';
import type { EncodeRequest } from '../wire/encode.ts';
import { ENCODE_LIMITS, type HostSpec, type SimFaults } from '../wire/host.ts';
import { HostSupervisor } from './supervisor.ts';

const NO_FAULTS: SimFaults = {
  crashAtStep: null,
  failAtStep: null,
  hangAtStep: null,
  failLoad: null,
};

function specOf(role: HostSpec['role'], faults: Partial<SimFaults>): HostSpec {
  const sim = {
    seed: 7,
    vocabSize: 512,
    fixedMs: 1,
    perTokenMs: 0,
    perAttendedMs: 0,
    noise: 0,
    stepTokensMax: 64,
    faults: { ...NO_FAULTS, ...faults },
  };
  return {
    modelId: 'm',
    role,
    engine: { kind: 'sim', sim },
    contextTokens: 128,
    parallel: 1,
    cells: 128,
    queueMax: 4,
    waitMsMax: 60_000,
    stepTargetMs: null,
    prefixCache: false,
    heartbeatMs: 1000,
    encode: ENCODE_LIMITS,
  };
}

const started: HostSupervisor[] = [];
afterEach(async () => {
  await Promise.all(started.splice(0).map((host) => host.stop(0)));
});

function start(role: HostSpec['role'], faults: Partial<SimFaults> = {}): Promise<HostSupervisor> {
  return new Promise((resolve) => {
    const host: HostSupervisor = new HostSupervisor({
      spec: specOf(role, faults),
      clock: systemClock,
      takeSeat: null,
      onChange: ({ kind }) => {
        if (kind === 'ready') resolve(host);
      },
    });
    started.push(host);
    host.start();
  });
}

const request = (count: number): EncodeRequest => ({
  task: 'embed',
  inputs: Array.from({ length: count }, (_, i) => ({ kind: 'text', text: `text ${i}` })),
  deadlineMs: null,
});
const codeOf = (thrown: unknown): string =>
  thrown instanceof PlenumError ? thrown.code : String(thrown);

it('are answered with a row per input', async () => {
  const host = await start('encode');
  expect(host.facts?.encoder).toMatchObject({ tasks: ['embed', 'rank', 'classify'] });
  const [one, many] = await Promise.all([host.encode(request(1)), host.encode(request(100))]);
  expect(many.values).toHaveLength(100 * many.width);
  expect(many.values.subarray(0, many.width)).toEqual(one.values);
  expect(many.tokenCounts).toHaveLength(100);
});

it('are refused by a model that generates, as texts are by one that does not', async () => {
  const [generates, encodes] = await Promise.all([start('generate'), start('encode')]);
  expect(generates.facts?.encoder).toBeNull();
  await expect(generates.encode(request(1))).rejects.toMatchObject({ code: 'wrong_endpoint' });
  await expect(encodes.detokenize(Int32Array.of(1))).rejects.toMatchObject({
    code: 'wrong_endpoint',
  });
  const tokenize = { text: 'a b', addSpecial: true, parseSpecial: false, withPieces: false };
  expect((await encodes.tokenize(tokenize)).tokens.length).toBeGreaterThan(2);
});

it('are refused with the numbers of what is wrong, and the host goes on', async () => {
  const host = await start('encode');
  const tooLong = { kind: 'text', text: 'x'.repeat(500) } as const;
  await expect(host.encode({ ...request(1), inputs: [tooLong] })).rejects.toMatchObject({
    code: 'context_length_exceeded',
    details: { contextTokens: 128, promptTokens: 502 },
  });
  expect((await host.encode(request(2))).tokenCounts).toHaveLength(2);
});

it('end when their client goes away, before they are sent and after', async () => {
  const host = await start('encode', { hangAtStep: 1 });
  const client = new AbortController();
  const hanging = host.encode(request(1), client.signal).catch(codeOf);
  client.abort();
  expect(await hanging).toBe('client_closed');
  expect(await host.encode(request(1), client.signal).catch(codeOf)).toBe('client_closed');
});

it('fail with their host, and with no other', async () => {
  const [crashes, lives] = await Promise.all([
    start('encode', { crashAtStep: 1 }),
    start('encode'),
  ]);
  const failed = crashes.encode(request(3)).catch(codeOf);
  const fine = lives.encode(request(3));
  expect(await failed).toBe('host_crashed');
  expect((await fine).tokenCounts).toHaveLength(3);
});
