/** The pace of large chunks, and how a step's time is shared by heads. */
import { expect, test } from 'vitest';
import { autoTargetMs, CatchUpPace } from './catch-up.ts';
import { Drive } from './fixture-drive.ts';
import { options, request, timeModel, tokensOf } from './fixture-requests.ts';

test('a large chunk waits for 25 steps of decoding and for its own time to be saved', () => {
  const spentAt = (neededMs: number): { readonly step: number; readonly ms: number }[] => {
    const pace = new CatchUpPace();
    const spent = Array.from({ length: 100 }, () => pace.save(10, neededMs));
    return spent.flatMap((ms, step) => (ms === null ? [] : [{ step, ms: Math.round(ms) }]));
  };
  expect(spentAt(300).slice(0, 2)).toEqual([
    { step: 29, ms: 300 },
    { step: 59, ms: 300 },
  ]);
  expect(spentAt(20).slice(0, 2)).toEqual([
    { step: 25, ms: 260 },
    { step: 51, ms: 260 },
  ]);
});

test('what steps without a prompt saved is the first chunk of the next, and no more', () => {
  const pace = new CatchUpPace();
  for (let i = 0; i < 1000; i++) pace.rest(10);
  expect(pace.save(10, 200)).toBeCloseTo(260, 2);
  expect(pace.save(10, 200)).toBeNull();
});

test('what was saved is forgotten when nobody decodes', () => {
  const pace = new CatchUpPace();
  for (let i = 0; i < 20; i++) expect(pace.save(1000, 10)).toBeNull();
  pace.reset();
  expect(pace.save(1000, 10)).toBeNull();
});

test('one prompt beside four streams leaves them more than half of a step', () => {
  expect(autoTargetMs({ decodeMs: 20, streams: 4, behind: 1 })).toBeCloseTo(36, 9);
});

test('prompts that are the many get the most of a step, but never more than half a second', () => {
  expect(autoTargetMs({ decodeMs: 10, streams: 1, behind: 7 })).toBeCloseTo(220, 9);
  expect(autoTargetMs({ decodeMs: 100, streams: 1, behind: 60 })).toBe(500);
});

test('prompts that are the many come in large chunks, as soon as their time is saved', () => {
  // A token of a small step costs four times as much as one of a large step.
  const time = timeModel(({ tokens }) => (tokens < 64 ? 10 + tokens : 58 + tokens / 4));
  const drive = new Drive(options({ stepTokensMax: 512, time, parallel: 8, cells: 8192 }));
  drive.submit(request(1, tokensOf(1, 20), { maxTokens: 200 }));
  drive.submit(request(2, tokensOf(2, 20), { maxTokens: 200 }));
  while ((drive.produced.get(2) ?? []).length < 2) drive.step();
  for (let key = 3; key <= 6; key++) drive.submit(request(key, tokensOf(key, 120)));
  const sizes: number[] = [];
  while (!drive.ends.has(6) && sizes.length < 100) sizes.push(drive.step()?.shape.tokens ?? 0);
  const prompts = sizes.filter((tokens) => tokens > 8);
  expect(Math.min(...prompts)).toBeGreaterThanOrEqual(40);
  // Not 26 steps apart, as one prompt's beside several streams would be.
  expect(sizes.slice(0, 20).filter((tokens) => tokens >= 64).length).toBeGreaterThanOrEqual(3);
});

test('short prompts that are the many come together, within the time of the step', () => {
  const time = timeModel(({ tokens }) => 10 + tokens);
  const drive = new Drive(options({ stepTokensMax: 512, time, parallel: 8, cells: 8192 }));
  drive.submit(request(1, tokensOf(1, 20), { maxTokens: 200 }));
  while ((drive.produced.get(1) ?? []).length < 2) drive.step();
  for (let key = 2; key <= 7; key++) drive.submit(request(key, tokensOf(key, 10)));
  // 11 ms of decoding; six prompts beside one stream may have 18 times as much, 60 tokens need 60.
  expect(drive.step()?.shape.tokens).toBe(61);
});

test('alone, a prompt’s step may take four times one token’s where that is longer', () => {
  const time = timeModel((s) => 400 + s.tokens);
  const drive = new Drive(options({ stepTokensMax: 2048, contextTokens: 4096, time }));
  drive.submit(request(1, tokensOf(1, 3000)));
  // 400 + n ≤ 4 × 401
  expect(drive.step()?.shape.tokens).toBe(1204);
});

test('what a large chunk is predicted to need is not waited for longer than sixty steps', () => {
  const pace = new CatchUpPace();
  const spent = Array.from({ length: 200 }, () => pace.save(1, Number.POSITIVE_INFINITY));
  expect(spent.flatMap((ms, i) => (ms === null ? [] : [i]))).toEqual([60, 121, 182]);
});
