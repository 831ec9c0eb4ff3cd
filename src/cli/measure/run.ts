/** `plenum measure` from start to end: models, memory, steps, fit, profile, report. */
import { defined } from '../../base/assert.ts';
import { PlenumError } from '../../base/errors.ts';
import { formatBytes } from '../../base/units.ts';
import { defaultThreads } from '../../engine/llama/threads.ts';
import { geometryOf, type ModelGeometry } from '../../model/geometry.ts';
import { inspectGguf } from '../../model/gguf.ts';
import { ensureModel } from '../../model/registry.ts';
import { listSynthetic, SYNTHETIC_PREFIX } from '../../model/synth.ts';
import { modelCost } from '../../planner/model-cost.ts';
import type { CliContext } from '../context.ts';
import { kernelsServed } from '../planning/here.ts';
import { wholeFlag } from '../planning/numbers.ts';
import { pullReporter } from '../pull-reporter.ts';
import { modelHome } from '../storage/home.ts';
import { measureBandwidth } from './bandwidth.ts';
import { identityHere } from './identity.ts';
import { type MeasuredModel, measureSteps, profileOf } from './machine.ts';
import type { StepPoint } from './messages.ts';
import { QUICK_EFFORT, QUICK_MIX, STANDARD_EFFORT, STANDARD_MIX, WHOLE } from './mix.ts';
import { reportProfile } from './report.ts';
import { openMeter } from './session.ts';
import { saveProfile } from './store.ts';

export interface MeasureOptions {
  readonly threads?: string;
  readonly quick?: true;
  /** `--no-save` */
  readonly save?: false;
  readonly json?: true;
}

/**
 * As `serve` has it unless told otherwise: cells for the whole context of every sequence. The
 * longest that is measured is 664 tokens; attention is that of the longer contexts of chats.
 */
const STEP_TOKENS = 512;
const CONTEXT_TOKENS = 1024;
const PARALLEL = 8;
/** The most that ggml's thread pool takes (GGML_MAX_N_THREADS). */
const THREADS_MAX = 512;

export async function measure(
  references: readonly string[],
  options: MeasureOptions,
  context: CliContext,
): Promise<void> {
  const threads = threadsOf(options);
  const isQuick = options.quick === true;
  const effort = isQuick ? QUICK_EFFORT : STANDARD_EFFORT;
  const home = modelHome(context);
  const signal = context.interrupted();
  const say = (text: string): void => void context.stderr.write(`${text}\n`);
  const wanted = await modelsWanted(references, { isQuick, home }, context);
  const machine = await identityHere();
  say(`reading memory with ${threads} ${threads === 1 ? 'thread' : 'threads'}`);
  const bandwidth = await measureBandwidth(threads);
  const meters: MeasuredModel[] = [];
  try {
    for (const model of wanted) meters.push(await openModel(model, { threads, signal, say }));
    const series = await measureSteps(meters, effort, ({ round, model }) => {
      signal.throwIfAborted();
      say(`round ${round + 1} of ${effort.rounds}: ${model}`);
    });
    const { facts } = defined(meters[0], 'a model that was measured').meter;
    const measuredAt = new Date();
    const profile = profileOf({ machine, threads, measuredAt, bandwidth, facts, series });
    const path = options.save === false ? null : await saveProfile(home, profile);
    if (options.json === true) {
      context.stdout.write(`${JSON.stringify({ path, profile }, null, 2)}\n`);
    } else context.stdout.write(reportProfile(profile, path, context.stdout));
  } finally {
    await Promise.all(meters.map(({ meter }) => meter.close()));
  }
}

function threadsOf(options: MeasureOptions): number {
  const threads = wholeFlag('--threads', options.threads) ?? defaultThreads();
  if (threads <= THREADS_MAX) return threads;
  throw new PlenumError('usage', `--threads ${threads}: at most ${THREADS_MAX} are measured with`);
}

export interface WantedModel {
  readonly name: string;
  readonly path: string;
  readonly geometry: ModelGeometry;
  readonly points: readonly StepPoint[];
}

/** Those named, or the mix; fetched or written where they are not there yet. */
async function modelsWanted(
  references: readonly string[],
  { isQuick, home }: { readonly isQuick: boolean; readonly home: string },
  context: CliContext,
): Promise<readonly WantedModel[]> {
  const mix = isQuick ? QUICK_MIX : STANDARD_MIX;
  const named = references.map((spec) => ({ spec, points: WHOLE }));
  const reporter = pullReporter(context);
  const wanted: WantedModel[] = [];
  try {
    for (const { spec, points } of named.length === 0 ? mix : named) {
      const { paths } = await ensureModel(fullReference(spec), {
        home,
        env: context.env,
        cwd: context.cwd,
        signal: context.interrupted(),
        onProgress: reporter.onEvent,
      });
      const [path = ''] = paths;
      const geometry = geometryOf(await inspectGguf(path));
      const most = Math.min(geometry.contextTokens, CONTEXT_TOKENS);
      const short = points.filter(({ depth, tokensEach }) => depth + tokensEach <= most);
      wanted.push({ name: spec, path, geometry, points: short });
    }
    return wanted;
  } finally {
    reporter.stop();
  }
}

/** A synthetic model may be named as `synth` names it. */
function fullReference(text: string): string {
  const name = text.split('@')[0]?.toLowerCase();
  const isSynthetic = listSynthetic().some(({ spec }) => spec.startsWith(`${name}@`));
  return isSynthetic ? `${SYNTHETIC_PREFIX}${text}` : text;
}

export interface Opening {
  readonly threads: number;
  readonly signal: AbortSignal;
  readonly say: (text: string) => void;
}

/** Loads a model into a measuring process of its own. */
export async function openModel(
  { name, path, geometry, points }: WantedModel,
  { threads, signal, say }: Opening,
): Promise<MeasuredModel> {
  say(`loading ${name}, ${formatBytes(geometry.weights.bytes)}`);
  const contextTokens = Math.min(geometry.contextTokens, CONTEXT_TOKENS);
  const { attention } = kernelsServed(process.platform === 'darwin');
  const meter = await openMeter(
    {
      engine: {
        kind: 'llama',
        path,
        threads,
        gpuLayers: null,
        cacheType: 'f16',
        flashAttention: attention === 'plain' ? 'off' : 'auto',
        stepTokensMax: STEP_TOKENS,
      },
      contextTokens,
      cells: contextTokens * PARALLEL,
      parallel: PARALLEL,
    },
    signal,
  );
  return { name, cost: modelCost(geometry), points, meter };
}
