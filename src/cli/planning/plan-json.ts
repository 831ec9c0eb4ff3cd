/**
 * The shape of `plenum plan --json`: stable, documented (docs/plan-json.md is generated from it)
 * and checked on the way out. Fields are added, not renamed.
 */
import { z } from 'zod';
import type { LoadAnswer } from '../../simulate/under-load.ts';
import type { PlanRow } from './plan-row.ts';

const number = (text: string) => z.number().describe(text);
const orNull = (text: string) => z.number().nullable().describe(text);

const memory = z.strictObject({
  availableBytes: number('What models may have on the machine'),
  neededBytes: number('Sum of the items'),
  shortBytes: number('What is missing; 0 when it fits'),
  source: z.string().describe('How availableBytes was come by'),
  items: z
    .array(
      z.strictObject({
        model: z.string(),
        name: z.string().describe('weights, KV cache, compute buffers …'),
        bytes: z.number(),
        memory: z.enum(['device', 'host']),
        source: z.string(),
      }),
    )
    .describe('Every byte with its owner'),
});

const binding = z.enum(['bandwidth', 'compute', 'memory', 'pcie', 'overhead']);

const speed = z.strictObject({
  decodeTps: number('Output tokens per second of all users together'),
  perUserTps: number('Of one user'),
  prefillTps: orNull('Tokens of a cold prompt per second'),
  ttftMs: orNull('Time to first token of a cold prompt, alone'),
  warmTtftMs: orNull('The same with --cached-tokens of it cached'),
  interTokenMs: number('Between two tokens of a user'),
  binding: binding.describe('Which term takes most of a decode step'),
  prefillBinding: binding.nullable().describe('Which term takes most of a prompt'),
  limitTps: number('No engine decodes faster on this machine'),
  ofLimit: number('decodeTps without speculation, over limitTps'),
  errorPct: z
    .strictObject({ decode: z.number(), prefill: z.number() })
    .describe('One standard deviation of the prediction, from the residuals of the fit'),
});

const cost = z.strictObject({
  usdPerMtokOut: orNull('Per million output tokens on the owned machine'),
  usdPerMtokIn: orNull('Per million prompt tokens'),
  usdPerBusyHour: orNull('Of an hour of computing, with its share of idle hours'),
  joulesPerTokenOut: orNull('Energy of an output token, with the idle time that goes with it'),
  parts: z
    .array(z.strictObject({ name: z.string(), usdPerBusyHour: z.number() }))
    .describe('What usdPerBusyHour is made of'),
  unknown: z.array(z.string()).describe('Figures that are missing'),
});

const percentiles = z.strictObject({
  mean: z.number(),
  p50: z.number(),
  p90: z.number(),
  p95: z.number(),
  p99: z.number(),
});

const loadRun = z.strictObject({
  offeredPerSecond: number('Arrivals'),
  endedPerSecond: number('Requests that ended'),
  outputTps: number('Output tokens per second'),
  promptTps: number('Prompt tokens computed per second'),
  utilisation: number('Share of the time in which a step computed'),
  ttftMs: percentiles.nullable().describe('Time to first token, from the arrival on'),
  itlMs: percentiles.nullable().describe('Between two tokens of a request'),
  queueMs: percentiles.nullable().describe('From arrival to the first step'),
  requestMs: percentiles.nullable().describe('From arrival to the end'),
  runningMean: number('Sequences per step'),
  waitingMost: number('Longest queue'),
  cachedShare: number('Of prompt tokens'),
  preemptions: number('Sequences that gave way and were computed again'),
  steps: number('Simulated steps'),
  requests: z
    .strictObject({
      measured: z.number(),
      finished: z.number(),
      refused: z.number(),
      expired: z.number(),
      failed: z.number(),
      outcomes: z.record(z.string(), z.number()),
    })
    .describe('How the measured requests ended; each in one way'),
  goodput: z
    .strictObject({ share: z.number(), requestsPerSecond: z.number() })
    .nullable()
    .describe('Requests that met the target; null without one'),
});

const load = z.strictObject({
  process: z.enum(['poisson', 'closed', 'times']).describe('How requests arrived'),
  capacityPerSecond: number('About the most requests per second that can be served'),
  run: loadRun.describe('At the traffic asked for'),
  highest: z
    .strictObject({
      ratePerSecond: orNull('The median of three samples; null when every rate misses it'),
      lowPerSecond: orNull('The lowest of the samples'),
      highPerSecond: orNull('The highest of the samples'),
      run: loadRun.nullable().describe('Of the median sample, at its rate'),
    })
    .nullable()
    .describe('The highest rate that meets the target; null without a target'),
});

const provenance = {
  source: z.string().describe('Id of data/sources.csv, or given, assumed, unknown'),
  asOf: z.string().nullable().describe('Day of the figure'),
};

const money = z.strictObject({
  at: z
    .strictObject({ perUserTps: z.number(), utilisation: z.number() })
    .describe('The speed and the use at which all of it holds'),
  offers: z
    .array(
      z.strictObject({
        kind: z.enum(['own', 'rent', 'hosted']),
        name: z.string(),
        usdPerMtokOut: z.number().nullable(),
        usdPerMtokIn: z.number().nullable(),
        usdPerMtok: orNull('Per million tokens of the mix of input and output'),
        usdPerHour: orNull('Of rent'),
        ...provenance,
      }),
    )
    .describe('Own, rent, hosted'),
  breakEven: z
    .array(
      z.strictObject({
        against: z.string().describe('Name of the offer'),
        rented: z
          .enum(['always', 'while it works'])
          .nullable()
          .describe('Of rent: all the time, as in offers, or only for the hours of work'),
        utilisation: orNull('From which use on owning is cheaper; null for never'),
        requestsPerMonth: z.number().nullable(),
        mtokPerMonth: orNull('Million tokens, input and output'),
        reason: z.string(),
      }),
    )
    .describe('Owning against every other offer'),
  sensitivity: z
    .array(z.strictObject({ input: z.string(), low: z.number(), high: z.number() }))
    .describe('usdPerMtokOut with an input 20 % lower and higher, relative; the strongest first'),
  assumptions: z
    .array(z.strictObject({ name: z.string(), value: z.number(), unit: z.string(), ...provenance }))
    .describe('What the owned cost is made from'),
});

export const planSchema = z.strictObject({
  machine: z.string().describe('Id of the catalogue'),
  memoryGib: orNull('Its memory'),
  devices: number('Cards'),
  fits: z.boolean().describe('Whether all models fit at once'),
  isOffloaded: z.boolean().describe('Layers lie in system memory (--system-memory)'),
  verdict: z.string().describe('The answer in a sentence'),
  memory: memory.describe('Of all models together'),
  speed: speed.describe('Of the first model; where it does not fit, as if it did'),
  cost: cost.describe('Of the first model on the owned machine'),
  load: load.nullable().describe('Of the first model, simulated; null when it was not'),
  loadMissing: z.string().nullable().describe('Why it was not, although it was asked for'),
  money: money.describe('Own against rent against a hosted API'),
  models: z
    .array(
      z.strictObject({
        model: z.string(),
        neededBytes: z.number(),
        decodeTps: z.number(),
        prefillTps: z.number().nullable(),
        ttftMs: z.number().nullable(),
      }),
    )
    .describe('Every model alone, in the order named'),
  instead: z
    .array(
      z.strictObject({
        kind: z.string(),
        change: z.string(),
        perUserTps: orNull('Tokens per second of a user after the change'),
      }),
    )
    .describe('What would meet the wish; empty when it is met'),
});

export type PlanJson = z.infer<typeof planSchema>;

/** One object of --json. */
export function jsonOf({ setup, plan, load: answer, ...row }: PlanRow): PlanJson {
  const { decodeTerms: _, ...speedOf } = plan.speed;
  return planSchema.parse({
    machine: plan.machine,
    memoryGib: setup.memoryGib ?? null,
    devices: setup.devices ?? 1,
    fits: plan.fits,
    isOffloaded: plan.isOffloaded,
    verdict: row.verdict,
    memory: plan.memory,
    speed: speedOf,
    cost: plan.cost,
    load: answer === null ? null : jsonOfLoad(answer),
    loadMissing: row.loadMissing,
    money: row.money,
    models: plan.models.map(({ model, neededBytes, speed: own }) => ({
      model,
      neededBytes,
      decodeTps: own.decodeTps,
      prefillTps: own.prefillTps,
      ttftMs: own.ttftMs,
    })),
    instead: row.instead,
  });
}

function jsonOfLoad({ process, capacityPerSecond, result, highest }: LoadAnswer) {
  const { result: run = null, ...rates } = highest ?? {};
  return { process, capacityPerSecond, run: result, highest: highest && { ...rates, run } };
}
