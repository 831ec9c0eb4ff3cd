/** Short texts in turns of the event loop, long ones on their thread: the same tokens. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureSynthetic } from '../../model/synth.ts';
import { CONTRACT_OPTIONS } from '../contract.ts';
import type { Engine } from '../port.ts';
import { openLlamaEngine } from './engine.ts';

const PLAIN = { addSpecial: false, parseSpecial: false };
const WORDS = 'over the hills and far away, 12 rivers — and a sea; ';
const textOf = (units: number): string => WORDS.repeat(Math.ceil(units / WORDS.length));

let dir: string;
let engine: Engine;
beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'plenum-tokenizer-'));
  const spec = { kind: 'llama', threads: 1, gpuLayers: 0, cacheType: 'f16' } as const;
  engine = await openLlamaEngine(
    { ...spec, stepTokensMax: 512, path: await ensureSynthetic('synthetic:tiny', dir) },
    CONTRACT_OPTIONS,
  );
});
afterAll(async () => {
  await engine.shutdown();
  await rm(dir, { recursive: true, force: true });
});

describe('texts of any length', () => {
  it('give the same tokens on either side of the length at which a thread takes them', async () => {
    const lengths = [60_000, 65_400, 65_600, 200_000];
    const lists = await Promise.all(lengths.map((units) => engine.tokenize(textOf(units), PLAIN)));
    const longest = lists.at(-1) ?? new Int32Array();
    const bytes = lists.map((list) => Buffer.concat([...list].map((t) => engine.tokenBytes(t))));
    lengths.forEach((units, i) => {
      expect(bytes[i]?.toString('utf8')).toBe(textOf(units));
      expect(longest.subarray(0, lists[i]?.length)).toEqual(lists[i]);
    });
  });

  it('leave the event loop between two of them, and a long one all of it', async () => {
    const order: string[] = [];
    const note = (name: string) => () => order.push(name);
    const long = engine.tokenize(textOf(2_000_000), PLAIN).then(note('long'));
    const short = ['a', 'b', 'c'].map((name) =>
      engine.tokenize(textOf(2_000), PLAIN).then(note(name)),
    );
    setImmediate(() => setImmediate(() => setImmediate(note('loop'))));
    await Promise.all([long, ...short]);
    expect(order.filter((name) => 'abc'.includes(name))).toEqual(['a', 'b', 'c']);
    expect(order.indexOf('loop')).toBeLessThan(order.indexOf('c'));
    expect(order.at(-1)).toBe('long');
  });

  it('reach their callers before the engine is freed', async () => {
    const own = await openLlamaEngine(
      {
        ...{ kind: 'llama', threads: 1, gpuLayers: 0, cacheType: 'f16', stepTokensMax: 512 },
        path: await ensureSynthetic('synthetic:tiny', dir),
      },
      CONTRACT_OPTIONS,
    );
    const tokens = own.tokenize(textOf(500_000), PLAIN);
    const closed = own.shutdown();
    expect((await tokens).length).toBeGreaterThan(1000);
    await closed;
  });
});
