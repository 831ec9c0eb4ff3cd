/**
 * From flags to what a bench is told. Reads the files they name; throws `usage` for what is
 * wrong.
 */
import { readFile, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { PlenumError } from '../../base/errors.ts';
import { nearest } from '../../base/nearest.ts';
import { REQUEST_LIMITS } from '../../bench/client/limits.ts';
import { CLIENT_LIMITS } from '../../bench/client/meter.ts';
import { parseArrivals } from '../../bench/load/arrivals.ts';
import { parseLength } from '../../bench/load/lengths.ts';
import { SCENARIO_DEFAULTS, type ScenarioSettings } from '../../bench/load/scenario.ts';
import { parseTrace, TRACE_BYTES_MAX } from '../../bench/load/trace.ts';
import { type Load, SCENARIOS, type SweepPoint } from '../../bench/result.ts';
import type { BenchSpec, FloodSpec, TargetSpec } from '../../bench/spec.ts';
import { baseUrl, splitNamed } from '../../bench/target/address.ts';
import type { CliContext } from '../context.ts';
import type { BenchFlags } from './flags.ts';
import { benchMachine } from './machine.ts';
import { CLIENTS, parseDuration, parseNumber, parseSlo, parseSweep, RATE } from './values.ts';

const DURATION_MS = 30_000;
const count = (min: number, max: number) => ({ min, max, isWhole: true });

export async function toSpec(
  flags: BenchFlags,
  argv: readonly string[],
  context: CliContext,
): Promise<BenchSpec> {
  const settings = settingsOf(flags);
  const points = flags.sweep === undefined ? null : parseSweep(flags.sweep);
  const number = numberReader(flags);
  const requests = flags.requests === undefined ? null : number('requests', count(1, 1_000_000), 1);
  const durationMs = durationOf(flags, requests);
  const targets = targetsOf(flags, context);
  return {
    targets,
    settings,
    trace: await traceOf(flags, context),
    endpoint: oneOf('--endpoint', flags.endpoint ?? 'chat', ['chat', 'completions']),
    ...(await loadOf(flags, points, context)),
    users: number('users', count(1, 4096), 16),
    points,
    flood: floodOf(flags, settings),
    durationMs,
    requests,
    repetitions: number('repetitions', count(1, 1000), points === null ? 3 : 1),
    warmupRequests: number('warmup', count(0, 10_000), 4),
    seed: number('seed', count(0, 2 ** 31), 1),
    slo: flags.slo === undefined ? null : parseSlo(flags.slo),
    ...limitsOf(flags),
    clientLimits: CLIENT_LIMITS,
    readyPath: flags.readyPath ?? null,
    keepSpawned: flags.keepSpawned === true,
    machine: await benchMachine(),
    versions: { plenum: context.version, node: process.version },
    command: ['plenum', 'bench', ...argv],
  };
}

type CountFlag = 'requests' | 'users' | 'repetitions' | 'warmup' | 'seed';

const numberReader =
  (flags: BenchFlags) =>
  (name: CountFlag, range: ReturnType<typeof count>, otherwise: number): number => {
    const text = flags[name];
    return text === undefined ? otherwise : parseNumber(text, `--${name}`, range);
  };

function oneOf<const T extends string>(flag: string, text: string, known: readonly T[]): T {
  const found = known.find((one) => one === text);
  if (found !== undefined) return found;
  const hint = nearest(text, known);
  const what = hint === null ? `one of ${known.join(', ')} is needed` : `did you mean ${hint}?`;
  throw new PlenumError('usage', `${flag} is "${text}"; ${what}`);
}

function settingsOf(flags: BenchFlags): ScenarioSettings {
  const scenario = oneOf('--scenario', flags.scenario ?? 'chat', SCENARIOS);
  const base = SCENARIO_DEFAULTS[scenario];
  const length = (flag: string, text: string | undefined, otherwise: typeof base.promptTokens) =>
    text === undefined ? otherwise : parseLength(text, flag);
  const whole = (flag: string, text: string | undefined, otherwise: number) =>
    text === undefined ? otherwise : parseNumber(text, flag, count(1, 1_000_000));
  return {
    scenario,
    promptTokens: length('--prompt-tokens', flags.promptTokens, base.promptTokens),
    outputTokens: length('--output-tokens', flags.outputTokens, base.outputTokens),
    turns: whole('--turns', flags.turns, base.turns),
    sharedTokens: whole('--shared-tokens', flags.sharedTokens, base.sharedTokens),
    documents: whole('--documents', flags.documents, base.documents),
    items: whole('--items', flags.items, base.items),
  };
}

function durationOf(flags: BenchFlags, requests: number | null): number | null {
  if (flags.duration !== undefined) return parseDuration(flags.duration, '--duration');
  return requests === null && flags.arrivals === undefined ? DURATION_MS : null;
}

interface Loaded {
  readonly load: Load;
  readonly arrivals: readonly number[] | null;
}

async function loadOf(
  flags: BenchFlags,
  points: readonly SweepPoint[] | null,
  context: CliContext,
): Promise<Loaded> {
  const given = (['rate', 'arrivals', 'clients', 'sweep'] as const).filter(
    (name) => flags[name] !== undefined,
  );
  if (given.length > 1) {
    const list = given.map((name) => `--${name}`).join(' and ');
    throw new PlenumError('usage', `${list} contradict each other: one of them says how much load`);
  }
  if (flags.arrivals !== undefined) {
    const text = await fileText(flags.arrivals, '--arrivals', context);
    const arrivals = parseArrivals(text, flags.arrivals);
    return { load: { mode: 'open', rate: null, arrivals: 'file' }, arrivals };
  }
  if (flags.rate !== undefined || points?.[0]?.axis === 'rate') {
    const rate = points?.[0]?.value ?? parseNumber(flags.rate ?? '', '--rate', RATE);
    return { load: { mode: 'open', rate, arrivals: 'poisson' }, arrivals: null };
  }
  const clients = points?.[0]?.value ?? parseNumber(flags.clients ?? '4', '--clients', CLIENTS);
  return { load: { mode: 'closed', clients }, arrivals: null };
}

function floodOf(flags: BenchFlags, { scenario }: ScenarioSettings): FloodSpec | null {
  const { floodModel, floodRate } = flags;
  if (scenario !== 'mixed') {
    if (floodModel === undefined && floodRate === undefined) return null;
    throw new PlenumError('usage', '--flood-model and --flood-rate are of --scenario mixed');
  }
  if (floodModel === undefined) {
    throw new PlenumError('usage', '--scenario mixed needs --flood-model, the model that embeds');
  }
  return { model: floodModel, rate: parseNumber(floodRate ?? '64', '--flood-rate', RATE) };
}

function limitsOf(flags: BenchFlags): Pick<BenchSpec, 'limits' | 'startMsMax' | 'drainMsMax'> {
  const ms = (flag: string, text: string | undefined, otherwise: number): number =>
    text === undefined ? otherwise : parseDuration(text, flag);
  const { connectMsMax, firstMsMax, stallMsMax, totalMsMax, bytesMax } = REQUEST_LIMITS;
  return {
    limits: {
      connectMsMax: ms('--connect-timeout', flags.connectTimeout, connectMsMax),
      firstMsMax: ms('--first-timeout', flags.firstTimeout, firstMsMax),
      stallMsMax: ms('--stall-timeout', flags.stallTimeout, stallMsMax),
      totalMsMax: ms('--request-timeout', flags.requestTimeout, totalMsMax),
      bytesMax,
    },
    startMsMax: ms('--start-timeout', flags.startTimeout, 300_000),
    drainMsMax: ms('--drain-timeout', flags.drainTimeout, 60_000),
  };
}

function targetsOf(flags: BenchFlags, { env }: CliContext): TargetSpec[] {
  const running = (flags.target ?? []).map((text) => {
    const { name, rest } = splitNamed(text, '--target');
    return { name, from: { url: baseUrl(rest, '--target') } };
  });
  const spawned = (flags.spawn ?? []).map((text) => {
    const { name, rest } = splitNamed(text, '--spawn');
    if (!rest.includes('{port}')) {
      const example = "a='llama-server -m model.gguf --port {port}'";
      throw new PlenumError(
        'usage',
        `--spawn ${name}: the command lacks {port}; one is ${example}`,
      );
    }
    return { name, from: { command: rest } };
  });
  const all = [...running, ...spawned];
  const names = all.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new PlenumError('usage', `two targets are named ${twice}`);
  if (all.length === 0) {
    const forms = "--target a=http://127.0.0.1:8686 or --spawn a='server --port {port}'";
    throw new PlenumError('usage', `there is nothing to measure; give ${forms}`);
  }
  const model = perTarget(flags.model ?? [], names);
  const variable = perTarget(flags.apiKeyEnv ?? [], names);
  return all.map((target) => ({
    ...target,
    model: model(target.name),
    apiKey: keyOf(variable(target.name), env),
  }));
}

/** `VALUE` for all, `NAME=VALUE` for the target of that name. */
function perTarget(
  texts: readonly string[],
  names: readonly string[],
): (name: string) => string | null {
  const own = new Map<string, string>();
  let general: string | null = null;
  for (const text of texts) {
    const at = text.indexOf('=');
    const name = text.slice(0, Math.max(0, at));
    if (names.includes(name)) own.set(name, text.slice(at + 1));
    else general = text;
  }
  return (name) => own.get(name) ?? general;
}

function keyOf(variable: string | null, env: CliContext['env']): string | null {
  if (variable === null) return null;
  const key = env[variable];
  if (key !== undefined && key !== '') return key;
  throw new PlenumError('usage', `--api-key-env: the variable ${variable} is not set`);
}

async function traceOf({ trace }: BenchFlags, context: CliContext): Promise<BenchSpec['trace']> {
  return trace === undefined ? null : parseTrace(await fileText(trace, '--trace', context), trace);
}

async function fileText(path: string, flag: string, { cwd }: CliContext): Promise<string> {
  const full = resolve(cwd, path);
  const facts = await stat(full).catch(() => null);
  if (facts === null || !facts.isFile()) {
    throw new PlenumError('usage', `${flag}: there is no file ${path}`);
  }
  if (facts.size > TRACE_BYTES_MAX) {
    const limit = `${facts.size} bytes, over ${TRACE_BYTES_MAX}`;
    throw new PlenumError('usage', `${flag}: ${path} is too large: ${limit}`);
  }
  return readFile(full, 'utf8');
}
