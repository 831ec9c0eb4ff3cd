/**
 * Steps of the engine with copied weights and caches in large pages and in small ones. Each load of
 * a model is a process of its own, since where its pages come to lie differs; loads of both kinds
 * take turns, and so do their steps.
 */
import { parseArgs } from 'node:util';
import { measureSteps, type Series } from '../src/cli/measure/machine.ts';
import { stepPoint } from '../src/cli/measure/messages.ts';
import { middleMean } from '../src/cli/measure/samples.ts';
import { machine, markdownTable, progress, wholeNumber } from './lib/options.ts';
import { openSynthetic, type Subject } from './lib/synthetic.ts';

const HELP = `node bench/pages.ts: steps with large pages and with small ones (Linux with glibc)

  --models A,B          synthetic models (default: probe-dense@q8_0,smollm2-360m@q8_0)
  --threads N           engine threads (default 1)
  --loads N             times that each model is loaded with either (default 3)
  --rounds N            times that each load has its turn (default 4)
`;

const { values: flags } = parseArgs({
  options: {
    models: { type: 'string', default: 'probe-dense@q8_0,smollm2-360m@q8_0' },
    threads: { type: 'string', default: '1' },
    loads: { type: 'string', default: '3' },
    rounds: { type: 'string', default: '4' },
    help: { type: 'boolean', default: false },
  },
});

const POINTS = [
  ...[1, 2, 8].map((sequences) => stepPoint(sequences, 1, 0)),
  stepPoint(8, 1, 600),
  stepPoint(1, 128, 0),
];
const PAGES = { small: 'glibc.malloc.hugetlb=0', large: 'glibc.malloc.hugetlb=1' } as const;

async function steps(spec: string): Promise<readonly Series[]> {
  const opened: Subject[] = [];
  const threads = wholeNumber(flags.threads, '--threads');
  try {
    for (let i = 0; i < wholeNumber(flags.loads, '--loads'); i++) {
      for (const [pages, tunables] of Object.entries(PAGES)) {
        progress(`${spec} with ${pages} pages`);
        // Children have it from here; this process is not touched by it any more.
        process.env['GLIBC_TUNABLES'] = tunables;
        const name = `${pages} ${i}`;
        opened.push(await openSynthetic({ spec, points: POINTS }, { threads, name }));
      }
    }
    const effort = { rounds: wholeNumber(flags.rounds, '--rounds'), repeats: 1 };
    return await measureSteps(opened, effort, () => undefined);
  } finally {
    await Promise.all(opened.map(({ meter }) => meter.close()));
  }
}

const range = (values: readonly number[]): string => {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const [least, most] = [Math.min(...values), Math.max(...values)];
  return `${mean.toFixed(1)} (${least.toFixed(1)} to ${most.toFixed(1)})`;
};

async function main(): Promise<void> {
  if (flags.help) return void process.stdout.write(HELP);
  const rows: string[][] = [];
  for (const spec of flags.models.split(',')) {
    const series = await steps(spec);
    for (const at of POINTS) {
      const of = (pages: string): number[] =>
        series
          .filter(({ model, point: own }) => model.startsWith(pages) && own === at)
          .map(({ ms }) => middleMean(ms));
      const [small, large] = [of('small'), of('large')];
      const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
      const what = `${at.sequences} × ${at.tokensEach}, ${at.depth} deep`;
      rows.push([spec, what, range(small), range(large), (sum(large) / sum(small)).toFixed(2)]);
    }
  }
  const header = ['model', 'step', 'small pages ms', 'large pages ms', 'ratio'];
  process.stdout.write(`${machine()}\n\n${markdownTable(header, rows)}\n`);
}

await main();
