/**
 * `plenum bench` as a command line: its flags, its table, its exit codes, its page in the
 * documents.
 */
import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, describe, expect, it } from 'vitest';
import { reportSchema } from '../../bench/result.ts';
import { answer, fakeContext, fakeServer } from '../fixture.ts';
import { runProgram } from '../program.ts';
import { benchFlags } from './flags.ts';
import { parseDuration, parseSlo, parseSweep } from './values.ts';

const folder = await mkdtemp(join(tmpdir(), 'plenum-bench-cli-'));
const server = await fakeServer((response) => answer(response, 'word'));
afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true });
});

const base = (): string[] => [
  ...['bench', '--target', `a=${server.url}/v1`, '--requests', '3', '--repetitions', '1'],
  ...['--warmup', '0', '--clients', '1'],
];

describe('plenum bench', () => {
  it('prints a table that fits 80 columns and writes its report', async () => {
    const context = fakeContext({ cwd: folder });
    const code = await runProgram([...base(), '--json', 'r.json', '--slo', 'ttft=5s'], context);
    expect([code, context.err]).toEqual([
      expect.any(Number),
      expect.stringContaining('a 1/1: 3 good'),
    ]);
    expect(context.out).toContain('TTFT p50');
    for (const line of context.out.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
    const report = reportSchema.parse(JSON.parse(await readFile(join(folder, 'r.json'), 'utf8')));
    expect(report.runs[0]?.records).toHaveLength(3);
    expect(report.targets[0]?.url).toBe(server.url);
  });

  it('prints JSON and nothing else where it is asked to', async () => {
    const context = fakeContext();
    await runProgram([...base(), '--json', '-'], context);
    expect(reportSchema.parse(JSON.parse(context.out)).partial).toBe(false);
  });

  it('ends with 1 where a threshold is broken, and names it', async () => {
    const context = fakeContext();
    const code = await runProgram([...base(), '--threshold', 'ttft.p95<0.001ms'], context);
    expect(code).toBe(1);
    expect(context.err).toMatch(/ttft\.p95<0\.001ms/);
  });

  it.each([
    [[], /nothing to measure/],
    [['--target', 'http://x'], /lacks its name/],
    [['--target', 'a=ftp://x'], /not http/],
    [['--target', 'a=http://u:secret@x'], /holds a password/],
    [['--target', 'a=http://x', '--target', 'a=http://y'], /two targets are named a/],
    [['--spawn', 'a=server --port 1'], /lacks \{port\}/],
    [
      ['--target', 'a=http://x', '--rate', '2', '--clients', '2'],
      /--rate and --clients contradict/,
    ],
    [['--target', 'a=http://x', '--scenario', 'chta'], /did you mean chat/],
    [['--target', 'a=http://x', '--scenario', 'mixed'], /needs --flood-model/],
    [['--target', 'a=http://x', '--duration', '30'], /write 500ms, 30s or 2m/],
    [['--target', 'a=http://x', '--clients', '0'], /a whole number from 1 to/],
    [['--target', 'a=http://x', '--arrivals', 'none.txt'], /there is no file none.txt/],
    [['--target', 'a=http://x', '--api-key-env', 'NO_SUCH'], /NO_SUCH is not set/],
    [['--target', 'a=http://x', '--slo', 'tfft=1s'], /did you mean ttft/],
  ])('refuses %j and says what would be right', async (flags, message) => {
    const context = fakeContext();
    expect(await runProgram(['bench', ...flags], context)).toBe(2);
    expect(context.err).toMatch(message);
    expect(context.err).not.toContain('secret');
  });
});

describe('values', () => {
  it('are read with their units', () => {
    expect(['500ms', '30s', '2m', '1.5s'].map((text) => parseDuration(text, '--x'))).toEqual([
      500, 30_000, 120_000, 1500,
    ]);
    expect(parseSlo('ttft=500ms, itl=60ms')).toEqual({ ttft: 500, itl: 60 });
    const values = (text: string): number[] => parseSweep(text).map(({ value }) => value);
    expect(values('rate=1..64')).toEqual([1, 2, 4, 8, 16, 32, 64]);
    expect(values('clients=1..5')).toEqual([1, 2, 4, 5]);
    expect(values('clients=1,3,9')).toEqual([1, 3, 9]);
    for (const text of ['rate=5', 'clients=4..1', 'users=1..2', 'clients=0.5..2', 'rate=2,1']) {
      expect(() => parseSweep(text)).toThrow(/--sweep/);
    }
  });
});

describe('docs/bench.md', () => {
  const page = readFileSync(join(import.meta.dirname, '../../../docs/bench.md'), 'utf8');
  const known = benchFlags(new Command())
    .options.map(({ long }) => long)
    .filter((flag) => flag !== undefined && flag !== null);

  it('names every flag, and its commands use no other', () => {
    for (const flag of known) expect(page).toContain(flag);
    const commands = [...page.matchAll(/^plenum bench (?!compare).*(?:\\\n.*)*/gm)].map(([all]) =>
      // What is inside quotes is another program's.
      all.replaceAll(/'[^']*'/g, ''),
    );
    expect(commands.length).toBeGreaterThan(5);
    for (const command of commands) {
      for (const [flag] of command.matchAll(/--[a-z][a-z-]*/g)) expect(known).toContain(flag);
    }
  });
});
