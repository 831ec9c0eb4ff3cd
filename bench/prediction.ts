/**
 * How well a measured machine predicts models that it was not measured with: a small dense one, a
 * larger dense one and a mixture of experts, all synthetic, with 1, 4 and 8 sequences, decoding and
 * reading prompts. The mix of `plenum measure` and the three take turns, so that the machine is the
 * same for both; the fit sees the mix alone. With --stored the profile that is stored predicts.
 * Exit code 1 when a prediction misses by more than --within percent.
 */
import { parseArgs } from 'node:util';
import { defined } from '../src/base/assert.ts';
import { measureBandwidth } from '../src/cli/measure/bandwidth.ts';
import { ENGINE_HERE, identityHere } from '../src/cli/measure/identity.ts';
import { measureSteps, profileOf, type Series, shapeOf } from '../src/cli/measure/machine.ts';
import { stepPoint } from '../src/cli/measure/messages.ts';
import { STANDARD_MIX } from '../src/cli/measure/mix.ts';
import { middleMean, spreadPct } from '../src/cli/measure/samples.ts';
import { findProfile } from '../src/cli/measure/store.ts';
import { plenumHome } from '../src/model/store-home.ts';
import { profileSteps } from '../src/planner/profile.ts';
import { plannedStepMs } from '../src/planner/step-guess.ts';
import type { MachineProfile } from '../src/wire/profile.ts';
import { machine, markdownTable, progress, wholeNumber } from './lib/options.ts';
import { openSynthetic, type Subject } from './lib/synthetic.ts';

const MODELS = 'smollm2-360m@q8_0,llama-3.2-1b@q4_k_m,probe-moe-wide@q4_0';
const HELP = `node bench/prediction.ts: predicted against measured, of models that were not measured

  --stored              predict by the stored profile instead of measuring the mix beside them
  --models A,B,C        synthetic models (default: ${MODELS})
  --threads N           engine threads (default 1)
  --rounds N            times that each model has its turn (default 4)
  --within PCT          exit code 1 beyond it (default 15)
`;

const { values: flags } = parseArgs({
  options: {
    stored: { type: 'boolean', default: false },
    models: {
      type: 'string',
      default: MODELS,
    },
    threads: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '4' },
    within: { type: 'string', default: '15' },
    help: { type: 'boolean', default: false },
  },
});

/** Decode of 1, 4 and 8 streams, 16 deep; a prompt of 128 tokens alone, and as much of 4 and 8. */
const POINTS = [
  ...[1, 4, 8].map((sequences) => stepPoint(sequences, 1, 16)),
  ...[1, 4, 8].map((sequences) => stepPoint(sequences, 128 / sequences, 0)),
];

async function main(): Promise<void> {
  if (flags.help) return void process.stdout.write(HELP);
  const threads = wholeNumber(flags.threads, '--threads');
  const rounds = wholeNumber(flags.rounds, '--rounds');
  const stored = flags.stored ? await storedProfile(threads) : null;
  const bandwidth = await measureBandwidth(threads);
  const opened: Subject[] = [];
  try {
    const specs = flags.models.split(',');
    const mix = stored === null ? STANDARD_MIX : [];
    const all = [...mix, ...specs.map((spec) => ({ spec, points: POINTS }))];
    for (const one of all) opened.push(await openSynthetic(one, { threads }));
    const series = await measureSteps(opened, { rounds, repeats: 1 }, ({ round, model }) =>
      progress(`round ${round + 1} of ${rounds}: ${model}`),
    );
    const isNew = ({ model }: Series): boolean => specs.includes(model);
    const { facts } = defined(opened[0], 'a model that was measured').meter;
    const profile =
      stored ??
      profileOf({
        machine: await identityHere(),
        threads,
        measuredAt: new Date(),
        bandwidth,
        facts,
        series: series.filter((one) => !isNew(one)),
      });
    report(profile, opened, series.filter(isNew));
  } finally {
    await Promise.all(opened.map(({ meter }) => meter.close()));
  }
}

async function storedProfile(threads: number): Promise<MachineProfile> {
  const home = plenumHome(process.env);
  const found = await findProfile({ home, here: identityHere, engine: ENGINE_HERE, threads });
  if (found.kind === 'found') return found.profile;
  throw new Error(`${found.why}; plenum measure --threads ${threads} writes one`);
}

function report(
  profile: MachineProfile,
  subjects: readonly Subject[],
  series: readonly Series[],
): void {
  const header = ['model', 'step', 'measured ms', 'spread', 'predicted ms', 'error'];
  const errors: number[] = [];
  const rows = series.map(({ model, point: at, ms }) => {
    const { geometry } = subjects.find(({ name }) => name === model) ?? {};
    if (geometry === undefined) throw new Error(`${model} was not measured`);
    const predicted = plannedStepMs(shapeOf(at), profileSteps(profile, geometry, 'f16'));
    const measured = middleMean(ms);
    const error = 100 * (predicted / measured - 1);
    errors.push(error);
    const { sequences, tokensEach, depth } = at;
    const what = tokensEach === 1 ? `decode × ${sequences}, ${depth} deep` : 'prefill';
    return [
      model,
      tokensEach === 1 ? what : `${what} ${sequences} × ${tokensEach}`,
      measured.toFixed(1),
      `${spreadPct(ms).toFixed(0)} %`,
      predicted.toFixed(1),
      `${error >= 0 ? '+' : '−'}${Math.abs(error).toFixed(0)} %`,
    ];
  });
  const measuredWith = [...new Set(profile.steps.map(({ model }) => model))].join(', ');
  const mean = errors.reduce((sum, error) => sum + Math.abs(error), 0) / errors.length;
  const worst = Math.max(...errors.map(Math.abs));
  const { decode, prefill } = profile.errorPct;
  progress(
    `the fit of the mix itself: ${decode.toFixed(1)} % decode, ${prefill.toFixed(1)} % prefill`,
  );
  for (const { model, sequences, tokensEach, depth, measuredMs, predictedMs } of profile.steps) {
    const at = `${sequences} × ${tokensEach}, ${depth} deep`;
    progress(`  ${model} ${at}: ${measuredMs.toFixed(1)} ms, fitted ${predictedMs.toFixed(1)}`);
  }
  process.stdout.write(
    `${machine()}; profile of ${profile.measuredAt}, measured with ${measuredWith}\n\n` +
      `${markdownTable(header, rows)}\n\n` +
      `mean error ${mean.toFixed(1)} %, worst ${worst.toFixed(1)} %\n`,
  );
  if (worst > wholeNumber(flags.within, '--within')) process.exitCode = 1;
}

await main();
