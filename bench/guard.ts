/**
 * What a guard in the path costs a client: the same model with and without one, on one server, in
 * turn. Nothing is ever flagged (the threshold is 1), so that all the text comes.
 */
import { writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { gapsMs, runStream, type StreamRun, ttftMs } from './lib/load.ts';
import {
  benchOptions,
  machine,
  markdownTable,
  printResult,
  progress,
  wholeNumber,
} from './lib/options.ts';
import { promptTokens } from './lib/prompts.ts';
import { freePort, launch, plenumEnvironment } from './lib/servers.ts';
import { formatValues, percentile } from './lib/stats.ts';

const options = benchOptions({
  name: 'guard',
  what: 'time to first token, gaps and whole time with a guard in the path',
  more: {
    guard: ['synthetic:smollm2-135m', 'the model that judges'],
    prompt: ['256', 'prompt tokens'],
    output: ['128', 'generated tokens'],
    window: ['32', 'window_tokens of the guard'],
  },
});
const sizes = {
  prompt: wholeNumber(options.more.prompt, '--prompt'),
  output: wholeNumber(options.more.output, '--output'),
  window: wholeNumber(options.more.window, '--window'),
};
const CONTEXT_TOKENS = 4096;
const START_MS_MAX = 180_000;
const VARIANTS = ['plain', 'input', 'output', 'both'] as const;
type Variant = (typeof VARIANTS)[number];

const modelsSchema = z.object({
  data: z.array(z.object({ meta: z.object({ state: z.string() }) })),
});

async function start() {
  const port = await freePort();
  const { cwd, env } = plenumEnvironment();
  const guard = { model: 'judge', threshold: 1, window_tokens: sizes.window, timeout_ms: 600_000 };
  const common = { engine: { threads: options.threads }, parallel: 2, context: CONTEXT_TOKENS };
  const models = [
    { id: 'plain', model: options.model, ...common },
    { id: 'input', model: options.model, ...common, guard: { ...guard, output: false } },
    { id: 'output', model: options.model, ...common, guard: { ...guard, input: false } },
    { id: 'both', model: options.model, ...common, guard },
    { id: 'judge', model: options.more.guard, ...common, class: 'guard' },
  ];
  const file = join(cwd, 'plenum.yaml');
  // JSON is YAML.
  writeFileSync(file, JSON.stringify({ server: { port }, models }));
  const main = join(import.meta.dirname, '../src/cli/main.ts');
  const args = [main, 'serve', '--config', file];
  const command = { file: process.execPath, args, cwd, env };
  return launch(command, `http://127.0.0.1:${port}`, 'plenum');
}

async function allReady(url: string): Promise<void> {
  const deadline = performance.now() + START_MS_MAX;
  for (;;) {
    const { data } = modelsSchema.parse(await (await fetch(new URL('/v1/models', url))).json());
    if (data.every(({ meta }) => meta.state === 'ready')) return;
    if (performance.now() > deadline) throw new Error(`not ready: ${JSON.stringify(data)}`);
    await delay(100);
  }
}

type Round = Readonly<Record<Variant, StreamRun>>;

/** Each variant on a prompt of its own, in an order that turns from round to round. */
async function round(url: string, index: number): Promise<Round> {
  const runs: Partial<Record<Variant, StreamRun>> = {};
  for (let i = 0; i < VARIANTS.length; i++) {
    const model = VARIANTS[(i + index) % VARIANTS.length] ?? 'plain';
    const prompt = await promptTokens(url, sizes.prompt, 10 * index + i);
    runs[model] = await runStream(url, { model, prompt, maxTokens: sizes.output });
  }
  return runs as Round;
}

const server = await start();
const rounds: Round[] = [];
try {
  await allReady(server.url);
  for (let i = 0; i <= options.repetitions; i++) {
    progress(`round ${i} of ${options.repetitions}`);
    const done = await round(server.url, i);
    // The first one warms up.
    if (i > 0) rounds.push(done);
  }
} finally {
  await server.stop();
}

const gapMs = (run: StreamRun, part: number): number => percentile(gapsMs(run), part);
const wholeMs = (run: StreamRun): number => run.endedAt - run.startedAt;
const rows = (name: string, pick: (run: StreamRun) => number, digits = 0): string[][] =>
  VARIANTS.map((variant) => [
    `${name}, ${variant}`,
    formatValues(
      rounds.map((one) => pick(one[variant])),
      digits,
    ),
    formatValues(
      rounds.map((one) => pick(one[variant]) / pick(one.plain)),
      2,
    ),
  ]);
printResult(
  options,
  {
    title: 'A guard in the path: none, on the input, on the output, on both',
    facts: [
      `${basename(options.model)} judged by ${basename(options.more.guard ?? '')}`,
      `${sizes.prompt} prompt tokens, ${sizes.output} generated, window ${sizes.window}`,
      `${machine()}; ${options.threads} engine thread(s) for each model`,
      `${options.repetitions} rounds; median (lowest to highest)`,
    ],
    table: markdownTable(
      ['', 'ms', 'of plain'],
      [
        ...rows('time to first token', ttftMs),
        ...rows('gap of texts, median', (run) => gapMs(run, 0.5), 1),
        ...rows('gap of texts, longest', (run) => gapMs(run, 1)),
        ...rows('whole time', wholeMs),
      ],
    ),
  },
  rounds,
);
