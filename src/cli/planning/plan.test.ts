/** `plenum plan` under load and for money: what it says, what its page has, what it refuses. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { planJsonPage } from '../../../tools/plan-json-page.ts';
import { encodeHeader } from '../../model/gguf-encode.ts';
import { ggmlTypeByName } from '../../model/gguf-types.ts';
import { parseSynthSpec, synthesize } from '../../model/synth.ts';
import { fakeContext } from '../fixture.ts';
import { runProgram } from '../program.ts';
import { planSchema } from './plan-json.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'plenum-plan-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

async function plan(...argv: readonly string[]) {
  const env = { HOME: folder, PLENUM_HOME: join(folder, 'home') };
  const context = fakeContext({ env, cwd: folder });
  const code = await runProgram(['plan', ...argv], context);
  const { out, err } = context;
  return { code, out, err, json: () => planSchema.array().parse(JSON.parse(out)) };
}

async function planned(...argv: readonly string[]) {
  const { json, err, code } = await plan(...argv, '--json');
  expect([code, err]).toEqual([0, '']);
  const [first] = json();
  if (first === undefined) throw new Error('no machine in the answer');
  return first;
}

const ON = ['llama-3.1-8b', '--machine', 'rtx-4090'] as const;
/** Few steps to simulate. */
const SHORT = ['--output-tokens', '16'] as const;
const widest = (text: string): number => Math.max(...text.split('\n').map((line) => line.length));

describe('plenum plan under load', () => {
  it('says percentiles, goodput and the highest rate, in 80 columns', async () => {
    const { code, out } = await plan(...ON, ...SHORT, '--rate', '1', '--slo', 'ttft=2s,itl=60ms');
    expect(code).toBe(0);
    expect(out).toMatch(/the\s+target\s+is\s+met\s+up\s+to\s+[\d.]+\s+requests\s+per\s+second/);
    expect(out).toContain('Under load (simulated): at 1 requests per second');
    expect(out).toMatch(/first token +[\d.]+ m?s +/);
    expect(out).toMatch(/goodput +[\d.]+ requests\/s +\d+ % of requests/);
    expect(widest(out)).toBeLessThanOrEqual(80);
  });

  it('is the same for the same seed, and gives every request an end', async () => {
    const flags = [...SHORT, '--rate', '3', '--spread', '0.7', '--seed'] as const;
    const [a, b, c] = [
      await planned(...ON, ...flags, '5'),
      await planned(...ON, ...flags, '5'),
      await planned(...ON, ...flags, '6'),
    ];
    expect(a.load).toEqual(b.load);
    expect(a.load).not.toEqual(c.load);
    const requests = a.load?.run.requests;
    const ended = Object.values(requests?.outcomes ?? {}).reduce((sum, n) => sum + n, 0);
    expect(ended).toBe(requests?.measured);
  });

  it('serves one user as fast as it says without load', async () => {
    const alone = await planned(...ON, '--rate', '0.01', '--users', '1', '--seed', '2');
    const { run } = alone.load ?? {};
    const { ttftMs, interTokenMs } = alone.speed;
    expect((run?.ttftMs?.p50 ?? 0) / (ttftMs ?? 1)).toBeCloseTo(1, 1);
    expect((run?.itlMs?.mean ?? 0) / interTokenMs).toBeCloseTo(1, 1);
  });

  it('simulates several users of one machine, and of many only when asked', async () => {
    expect((await planned(...ON, '--users', '4')).load?.process).toBe('closed');
    expect((await planned(...ON)).load).toBeNull();
    const many = ['llama-3.1-8b', '--compare', 'rtx-4090,rtx-3090', '--users', '4', ...SHORT];
    expect((await planned(...many)).load).toBeNull();
    const wide = 'rtx-4090,2xrtx-pro-6000-blackwell,m1-8c:8';
    const loaded = ['llama-3.1-8b', '--compare', wide, '--rate', '0.001', ...SHORT] as const;
    const { out } = await plan(...loaded);
    expect(out).toMatch(/REQ\/S +TTFT/);
    expect(widest(out)).toBeLessThanOrEqual(80);
  });

  it('finds shared tokens in the cache, and is sooner for it', async () => {
    const flags = ['--rate', '1', '--prompt-tokens', '1000', '--output-tokens', '20'] as const;
    const cold = await planned(...ON, ...flags);
    const warm = await planned(...ON, ...flags, '--cached-tokens', '900');
    expect(warm.load?.run.cachedShare).toBeCloseTo(0.9, 1);
    expect(warm.load?.run.ttftMs?.p50).toBeLessThan(cold.load?.run.ttftMs?.p50 ?? 0);
    expect(warm.speed.warmTtftMs).toBeLessThan(warm.speed.ttftMs ?? 0);
  });

  it('replays a trace, and sizes the context by its longest request', async () => {
    const line = (at: number, prompt: number): string =>
      JSON.stringify({ at, prompt_tokens: prompt, output_tokens: 8 });
    await writeFile(join(folder, 'day.jsonl'), `${line(0, 100)}\n${line(1, 900)}\n`);
    const { load, memory } = await planned(...ON, '--trace', 'day.jsonl');
    expect(load).toMatchObject({ process: 'times', run: { requests: { finished: 2 } } });
    const cells = memory.items.find(({ name }) => name === 'KV cache')?.source;
    // 4 sequences of 908 tokens, rounded up.
    expect(cells).toMatch(/^3840 cells/);
  });

  it('says why a trace is wrong', async () => {
    await writeFile(join(folder, 'bad.jsonl'), '{"prompt_tokens": 1, "output_tokens": 1}\n{"a"\n');
    await writeFile(join(folder, 'untimed.jsonl'), '{"prompt_tokens": 1, "output_tokens": 1}');
    for (const [name, message] of [
      ['bad.jsonl', 'bad.jsonl is wrong in line 2: it is no JSON'],
      ['untimed.jsonl', 'untimed.jsonl has no times of arrival: give --rate'],
      ['none.jsonl', '--trace none.jsonl: it cannot be read (ENOENT)'],
    ] as const) {
      const { code, err } = await plan(...ON, '--trace', name);
      expect([code > 0, err]).toEqual([true, expect.stringContaining(message)]);
    }
  });

  it('does not simulate what does not fit, or what it has no figures for', async () => {
    const big = await planned('llama-3.3-70b', '--machine', 'rtx-4090', '--rate', '1');
    expect([big.load, big.loadMissing]).toEqual([null, 'it does not fit']);
  });

  it('says that fewer requests would do, where that is all that is wrong', async () => {
    const { instead } = await planned(...ON, ...SHORT, '--rate', '50', '--slo', 'ttft=2s');
    expect(instead.map(({ kind }) => kind)).toEqual(['rate']);
  });
});

describe('plenum plan with system memory', () => {
  it('lays the layers there that the cards do not hold, at its speed', async () => {
    const one = ['llama-3.3-70b', '--machine', 'rtx-4090'] as const;
    expect((await planned(...one)).fits).toBe(false);
    const flags = ['--system-memory', '128', '--rate', '1', '--users', '1'] as const;
    const beside = await planned(...one, ...flags);
    expect([beside.fits, beside.isOffloaded, beside.speed.binding]).toEqual([true, true, 'memory']);
    // 3.1 tokens per second were measured on such a machine.
    expect(beside.speed.decodeTps).toBeGreaterThan(2);
    expect(beside.speed.decodeTps).toBeLessThan(4.5);
    expect(beside.loadMissing).toContain('are not simulated');
    expect((await planned(...ON, '--system-memory', '128')).isOffloaded).toBe(false);
  });
});

describe('plenum plan with speculation', () => {
  it('counts the bytes of the draft, and is faster where it is accepted', async () => {
    const one = ['llama-3.3-70b', '--machine', 'm3-ultra-80c'] as const;
    const alone = await planned(...one);
    const drafted = await planned(...one, '--speculation', '0.8');
    expect(drafted.speed.decodeTps).toBeGreaterThan(alone.speed.decodeTps);
    expect(drafted.memory.neededBytes).toBeGreaterThan(alone.memory.neededBytes + 1e9);
    expect(drafted.memory.items.map(({ model }) => model)).toContain('draft llama-3.2-1b Q8_0');
    const never = await planned(...one, '--speculation', '0,llama-3.2-3b');
    expect(never.speed.decodeTps).toBeLessThan(alone.speed.decodeTps);
  });

  it('is named in the report', async () => {
    const { out } = await plan('llama-3.3-70b', '--machine', 'rtx-4090', '--speculation', '0.7');
    expect(out).toMatch(/with speculation: llama-3.2-1b Q8_0 proposes 4 tokens .* 70 % of/s);
    expect(widest(out)).toBeLessThanOrEqual(80);
  });

  it('refuses a draft with another vocabulary, and a model that none is known for', async () => {
    const other = await plan(...ON, '--speculation', '0.7,qwen3-0.6b');
    expect(other.err).toContain('qwen3-0.6b cannot draft: it knows 151936 tokens');
    const none = await plan('llama-3.2-1b', '--machine', 'rtx-4090', '--speculation', '0.7');
    expect(none.err).toContain('No draft for llama-3.2-1b is known; name one');
  });
});

describe('the money of a plan', () => {
  it('takes what is given over the catalogue, and says so', async () => {
    const flags = ['--price', '1000', '--tariff', '0.4', '--pue', '1.5', '--rent', '1'] as const;
    const { money, cost } = await planned(...ON, ...flags, '--hosted', '0.1,0.3');
    const given = money.assumptions.filter(({ source }) => source === 'given');
    expect(given.map(({ name, value }) => [name, value])).toEqual([
      ['price', 1000],
      ['tariff', 0.4],
      ['PUE', 1.5],
    ]);
    expect(money.offers.map(({ name }) => name)).toEqual(['own', 'rent', 'hosted']);
    expect(money.offers[0]?.usdPerMtokOut).toBe(cost.usdPerMtokOut);
    expect(money.breakEven.map(({ against, rented }) => [against, rented])).toEqual([
      ['rent', 'always'],
      ['rent', 'while it works'],
      ['hosted', null],
    ]);
  });

  it('gives every figure a source', async () => {
    const { out } = await plan('llama-3.3-70b', '--machine', 'h100-sxm', '--price', '30000');
    expect(out).toMatch(/rent, low +\$[\d.]+ .* runpod 20\d\d-/);
    expect(out).toMatch(/price \$30000 \(given\)/);
    expect(widest(out)).toBeLessThanOrEqual(80);
  });
});

describe('plenum plan --html', () => {
  it('writes one page that asks nothing of any server', async () => {
    const { code, err } = await plan(...ON, ...SHORT, '--rate', '1', '--html', 'plan.html');
    expect([code, err]).toEqual([0, 'Wrote plan.html\n']);
    const page = await readFile(join(folder, 'plan.html'), 'utf8');
    expect(page.match(/<svg /g)).toHaveLength(4);
    for (const title of ['Roofline', 'sequences at a time', 'against load', 'Cost against use']) {
      expect(page).toContain(title);
    }
    // The only address is the name of the SVG language.
    const addresses = page.match(/\bhttps?:\/\/[^"\s]*/g) ?? [];
    expect([...new Set(addresses)]).toEqual(['http://www.w3.org/2000/svg']);
    expect(page).not.toMatch(/<script|<link|<img|@import|url\(|NaN|Infinity|undefined/);
  });

  it('says when it cannot be written', async () => {
    const { code, err } = await plan(...ON, ...SHORT, '--html', 'none/plan.html');
    expect([code, err]).toEqual([2, expect.stringContaining('cannot be written (ENOENT)')]);
  });
});

describe('plenum plan --json', () => {
  it('has the fields that docs/plan-json.md lists, which is generated from the schema', async () => {
    const page = await readFile(new URL('../../../docs/plan-json.md', import.meta.url), 'utf8');
    expect(page).toBe(planJsonPage());
    const one = await planned(...ON, ...SHORT, '--rate', '1', '--slo', 'ttft=1s');
    for (const key of Object.keys(one)) expect(page).toContain(`| \`${key}\` |`);
  });
});

describe('what to do instead', () => {
  it('is of every kind: bits, context, speculation, experts, another machine', async () => {
    const kinds = async (...argv: readonly string[]): Promise<string[]> => {
      const { instead } = await planned(...argv);
      return instead.map(({ kind }) => kind);
    };
    const on = ['--machine', 'm4-max-40c:64'] as const;
    const tight = await kinds('llama-3.3-70b@q6_k', '--context', '8192', ...on);
    expect(tight).toEqual(expect.arrayContaining(['quantisation', 'experts', 'machine']));
    expect(await kinds('llama-3.3-70b', '--context', '65536', ...on)).toContain('context');
    const slow = ['llama-3.3-70b', '--machine', 'gb10-dgx-spark', '--target-tps', '9'] as const;
    expect(await kinds(...slow)).toContain('speculation');
  });

  it('weighs a mix with the others in place', async () => {
    const mix = ['llama-3.3-70b', 'qwen2.5-32b', '--machine', 'm4-max-40c:64'] as const;
    const { fits, instead } = await planned(...mix);
    expect(fits).toBe(false);
    expect(instead.map(({ kind }) => kind)).toEqual(expect.arrayContaining(['experts', 'smaller']));
    expect(instead.map(({ change }) => change)).toContain('without qwen2.5-32b');
  });

  it('says so when nothing meets the wish', async () => {
    const { out } = await plan(...ON, '--target-tps', '100000');
    expect(out).toMatch(/Instead\n {2}nothing in the catalogue meets it; tried: fewer bits/);
  });

  it('takes a target for requests into account', async () => {
    const slow = ['llama-3.3-70b', '--machine', 'm4-max-40c:64', ...SHORT] as const;
    const { instead } = await planned(...slow, '--slo', 'ttft=500ms', '--users', '1');
    expect(instead.length).toBeGreaterThan(0);
    expect(instead.map(({ kind }) => kind)).not.toContain('rate');
  });
});

describe('plenum plan refuses', () => {
  it('a model whose header lacks dimensions, with the list of them', async () => {
    const architecture = { type: 'string', value: 'llama' } as const;
    const metadata = new Map([['general.architecture', architecture]]);
    const type = ggmlTypeByName('F32');
    if (type === undefined) throw new Error('F32');
    const tensors = [{ name: 'token_embd.weight', dims: [32, 10], type }];
    const { header, fileBytes } = encodeHeader(metadata, tensors);
    const file = Buffer.concat([header], fileBytes);
    await writeFile(join(folder, 'bare.gguf'), file);
    const { code, err } = await plan('./bare.gguf', '--machine', 'rtx-4090');
    expect([code, err]).toEqual([1, expect.stringContaining('llama.block_count')]);
    expect(err).toContain('llama.embedding_length');
  });

  it('load and speculation of a model that gives vectors, but not its page', async () => {
    await synthesize(parseSynthSpec('tiny-bert'), join(folder, 'e.gguf'));
    const on = ['./e.gguf', '--machine', 'm4-pro-20c', '--prompt-tokens', '100'] as const;
    const loaded = await plan(...on, '--output-tokens', '1', '--rate', '1');
    expect([loaded.code, loaded.err]).toEqual([2, expect.stringContaining('gives vectors')]);
    const page = await plan(...on, '--output-tokens', '1', '--html', 'e.html');
    expect([page.code, page.err]).toEqual([0, 'Wrote e.html\n']);
  });

  it('an unknown machine, with the nearest', async () => {
    const { code, err } = await plan('llama-3.1-8b', '--machine', 'rtx-4900');
    expect([code, err]).toEqual([2, expect.stringContaining('the nearest are rtx-4090')]);
  });

  it.each([
    [['--slo', 'ttft=fast'], '--slo takes a target such as ttft=500ms,itl=60ms'],
    [['--slo', 'share=0.9'], '--slo takes a target'],
    [['--slo', 'ttft=0ms'], '--slo takes a target'],
    [['--slo', 'ttft=1s,ttft=2s'], '--slo takes a target'],
    [['--rate', '0'], '--rate takes a number above 0'],
    [['--spread', '9'], '--spread takes a number from 0 to 3'],
    [['--cached-tokens', '512'], 'are too many: the prompt has 512'],
    [['--speculation', '1.5'], '--speculation takes a share'],
    [['--tariff', '-1'], '--tariff takes a number from 0'],
    [['--pue', '0.5'], '--pue takes a number from 1'],
    [['--price', 'cheap'], '--price takes a number from 0'],
    [['--residual', '2'], '--residual takes a number from 0 to 1'],
    [['--years', '0'], '--years takes a number above 0'],
    [['--rent', '-2'], '--rent takes a number from 0'],
    [['--hosted', '0.2'], '--hosted takes two prices'],
  ])('%s', async (argv, message) => {
    const { code, err, out } = await plan(...ON, ...argv);
    expect([code, err, out]).toEqual([2, expect.stringContaining(message), '']);
  });
});
