/**
 * The planner's own speed: simulated steps per second of the load simulation (the real scheduler in
 * virtual time), and the time of a plan for four models on ten machines, within this process and as
 * a whole command. It serves no model and sends no request.
 */
import { execFileSync } from 'node:child_process';
import { loadCatalogue } from '../src/model/catalogue-data.ts';
import { geometryOfModel } from '../src/planner/architecture.ts';
import { findMachine, findModel } from '../src/planner/lookup.ts';
import { planModels } from '../src/planner/plan.ts';
import { SPEED_TABLE } from '../src/planner/speed-table.ts';
import { servedModel } from '../src/simulate/served.ts';
import { type Served, simulate } from '../src/simulate/simulation.ts';
import { loadResult } from '../src/simulate/statistics.ts';
import { DrawnRequests } from '../src/simulate/workload.ts';
import { benchOptions, machine, markdownTable, printResult, progress } from './lib/options.ts';
import { formatValues, median } from './lib/stats.ts';

const options = benchOptions({
  name: 'simulate',
  what: 'simulated steps per second, and the time of a plan',
  modelless: true,
  more: { requests: ['400', 'simulated requests in a run'] },
});

const MODELS = ['llama-3.3-70b', 'qwen3-8b', 'llama-3.2-1b', 'gemma-3-4b'];
const MACHINES = [
  ...['m4-max-40c', 'm3-ultra-80c', 'm4-pro-20c', 'm2-ultra-76c', 'gb10-dgx-spark'],
  ...['strix-halo-395', 'rtx-4090', 'rtx-5090', 'a100-80gb', 'h100-sxm'],
];
const CASES = [
  { name: 'light load, 8 slots', slots: 8, rate: 0.2 },
  { name: 'heavy load, 8 slots', slots: 8, rate: 0.6 },
  { name: 'heavy load, 32 slots', slots: 32, rate: 0.8 },
] as const;
const CONTEXT_TOKENS = 4096;
const lengths = { promptTokens: 512, outputTokens: 128, spread: 0.8, sharedTokens: 0 };

const catalogue = loadCatalogue();

function planOf(ids: readonly string[], machineId: string, users: number) {
  return planModels({
    models: ids.map((id) => {
      const geometry = geometryOfModel(findModel(catalogue, id), 'Q4_K_M');
      return { geometry, contextTokens: CONTEXT_TOKENS, parallel: users };
    }),
    setup: { machine: findMachine(catalogue, machineId) },
    table: SPEED_TABLE,
    traffic: { users, promptTokens: 512, outputTokens: 128 },
    utilisation: 0.3,
  });
}

function served(slots: number): Served {
  const [first] = planOf(['llama-3.1-8b'], 'm4-max-40c', slots).models;
  if (first === undefined) throw new Error('no model was planned');
  const parallel = slots;
  const shape = { contextTokens: CONTEXT_TOKENS, parallel, sharesPrefixes: true };
  return servedModel({ steps: first.steps, ...shape });
}

function stepsPerSecond({ slots, rate }: (typeof CASES)[number], seed: number): number {
  const count = Number(options.more.requests);
  const requests = new DrawnRequests({ ...lengths, contextTokens: CONTEXT_TOKENS, seed });
  const process = { kind: 'poisson', ratePerSecond: rate } as const;
  const model = served(slots);
  const from = performance.now();
  const run = simulate({ served: model, process, requests, count, warmUp: 10, seed });
  loadResult(run, null);
  return (1e3 * run.steps) / (performance.now() - from);
}

function planMs(): number {
  const from = performance.now();
  for (const id of MACHINES) planOf(MODELS, id, 1);
  return performance.now() - from;
}

function commandMs(): number {
  const entry = new URL('../src/cli/main.ts', import.meta.url).pathname;
  const argv = [entry, 'plan', ...MODELS, '--compare', MACHINES.join(), '--json'];
  const from = performance.now();
  execFileSync(process.execPath, argv, { stdio: ['ignore', 'ignore', 'inherit'] });
  return performance.now() - from;
}

const repeat = (one: (i: number) => number): number[] =>
  Array.from({ length: options.repetitions }, (_, i) => one(i));

const firstPlanMs = planMs();
const plans = repeat(planMs);
progress('plans are measured');
const commands = repeat(commandMs);
progress('commands are measured');
const runs = CASES.map((one) => ({ ...one, rates: repeat((i) => stepsPerSecond(one, i + 1)) }));

printResult(
  options,
  {
    title: 'The planner’s own speed',
    facts: [
      machine(),
      `plan: ${MODELS.length} models on ${MACHINES.length} machines, median (range)`,
      `simulation: llama-3.1-8b on an M4 Max, ${options.more.requests} requests, log-normal lengths`,
    ],
    table: markdownTable(
      ['what', 'value'],
      [
        ['plan, first in a process', `${firstPlanMs.toFixed(1)} ms`],
        ['plan, in process', `${formatValues(plans)} ms`],
        ['plan, whole command', `${formatValues(commands, 0)} ms`],
        ...runs.map(({ name, rates }) => [name, `${formatValues(rates, 0)} steps/s`]),
      ],
    ),
  },
  { firstPlanMs, plans, commands, runs: runs.map(({ name, rates }) => [name, median(rates)]) },
);
