/**
 * Finds a meter of this machine and reads it during a run. A meter counts the whole machine or a
 * chip, with everything that runs on it, the measuring client too. It needs no rights of its own:
 * one that may not be read is passed over, and says why.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Energy } from '../result.ts';
import {
  joulesOf,
  macmonWatts,
  nvidiaWatts,
  type PowerSample,
  parseRapl,
  powermetricsWatts,
  type RaplCounter,
  raplJoules,
} from './readings.ts';

export interface Reading {
  /** Of the time since it was started; null where the meter gave nothing. */
  stop(): Promise<Energy | null>;
}

export interface Meter {
  readonly name: string;
  start(): Promise<Reading>;
}

export interface FoundMeter {
  readonly meter: Meter | null;
  /** Why others were not used, for the report. */
  readonly problems: readonly string[];
}

/** Where Linux keeps its counters. */
const POWERCAP = '/sys/class/powercap';
/** How often a meter that gives watts is asked. */
const SAMPLE_MS = 250;
/** A meter that says nothing for so long after its start is none. */
const FIRST_SAMPLE_MS_MAX = 3000;

/** A card's meter goes before the processor's: where there is a card, the model is on it. */
export async function findMeter(powercap = POWERCAP): Promise<FoundMeter> {
  const problems: string[] = [];
  const isMac = process.platform === 'darwin';
  const streams = isMac ? [macmonMeter(), powermetricsMeter()] : [nvidiaMeter()];
  for (const meter of streams) {
    if (await answers(meter)) return { meter, problems };
  }
  if (isMac) problems.push('macmon is not installed, and powermetrics needs root');
  const rapl = await raplMeter(powercap, problems);
  return { meter: rapl, problems };
}

async function raplMeter(folder: string, problems: string[]): Promise<Meter | null> {
  const first = await readRapl(folder, problems);
  if (raplJoules(first, first) === null) return null;
  return {
    name: 'rapl',
    start: async () => {
      const before = await readRapl(folder, []);
      const fromMs = performance.now();
      return {
        stop: async () => {
          const joules = raplJoules(before, await readRapl(folder, []));
          return energyOf(joules, performance.now() - fromMs, 'rapl (processor and its memory)');
        },
      };
    },
  };
}

/** Counters that may be read; `problems` says which may not. */
async function readRapl(folder: string, problems: string[]): Promise<RaplCounter[]> {
  let ids: string[];
  try {
    ids = (await readdir(folder)).filter((id) => /^intel-rapl:\d+(:\d+)?$/.test(id));
  } catch {
    problems.push(`there is no ${folder}`);
    return [];
  }
  const counters: RaplCounter[] = [];
  for (const id of ids.sort()) {
    const read = (file: string): Promise<string> => readFile(join(folder, id, file), 'utf8');
    try {
      const max = await read('max_energy_range_uj');
      const counter = parseRapl(id, {
        name: await read('name'),
        energy: await read('energy_uj'),
        max,
      });
      if (counter !== null) counters.push(counter);
    } catch (thrown) {
      const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : 'unreadable';
      const why = code === 'EACCES' ? 'only root may read it (chmod a+r energy_uj)' : code;
      problems.push(`${id}: ${why}`);
    }
  }
  return counters;
}

interface StreamSpec {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  /** Watts of a line; null when it has none. */
  watts(line: string): number | null;
  /** What the watts are of. */
  readonly of: string;
}

const macmonMeter = (): Meter =>
  streamMeter({
    name: 'macmon',
    command: ['macmon', 'pipe', '-i', String(SAMPLE_MS)],
    watts: (line) => macmonWatts(line)?.watts ?? null,
    of: 'system',
  });

const powermetricsMeter = (): Meter =>
  streamMeter({
    name: 'powermetrics',
    command: ['powermetrics', '--samplers', 'cpu_power', '-i', String(SAMPLE_MS)],
    watts: (line) => powermetricsWatts(line)[0] ?? null,
    of: 'chip alone',
  });

/** Each card has a line of its own; the sum is over the last line of each. */
const nvidiaMeter = (): Meter => {
  const cards = new Map<string, number>();
  return streamMeter({
    name: 'nvidia-smi',
    command: [
      'nvidia-smi',
      '--query-gpu=index,power.draw',
      '--format=csv,noheader,nounits',
      `--loop-ms=${SAMPLE_MS}`,
    ],
    watts: (line) => {
      const [index = '', draw = ''] = line.split(',');
      const watts = nvidiaWatts([draw]);
      if (watts === null) return null;
      // Until a card comes again, the sum has not all of them.
      const isWhole = cards.has(index);
      cards.set(index, watts);
      if (!isWhole) return null;
      return [...cards.values()].reduce((sum, one) => sum + one, 0);
    },
    of: 'cards alone',
  });
};

function streamMeter({ name, command, watts, of }: StreamSpec): Meter {
  return {
    name,
    start: async () => {
      const samples: PowerSample[] = [];
      const child = launch(command);
      const over = new Promise<void>((done) => child.once('close', () => done()));
      const lines = child.stdout === null ? null : createInterface({ input: child.stdout });
      lines?.on('line', (line) => {
        const value = watts(line);
        if (value !== null) samples.push({ atMs: performance.now(), watts: value });
      });
      const fromMs = performance.now();
      await firstSample(samples, over);
      return {
        stop: async () => {
          const toMs = performance.now();
          child.kill();
          await over;
          return energyOf(joulesOf(samples, { fromMs, toMs }), toMs - fromMs, `${name} (${of})`);
        },
      };
    },
  };
}

function launch([program, ...args]: readonly [string, ...string[]]): ChildProcess {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  // A program that is not there ends by `close` too; that is all that is asked.
  child.on('error', () => child.stdout?.destroy());
  return child;
}

async function firstSample(samples: readonly PowerSample[], over: Promise<void>): Promise<void> {
  let isOver = false;
  void over.then(() => {
    isOver = true;
  });
  const until = performance.now() + FIRST_SAMPLE_MS_MAX;
  while (samples.length === 0 && !isOver && performance.now() < until) {
    await new Promise((done) => setTimeout(done, 20));
  }
}

async function answers(meter: Meter): Promise<boolean> {
  const reading = await meter.start();
  return (await reading.stop()) !== null;
}

function energyOf(joules: number | null, ms: number, meter: string): Energy | null {
  if (joules === null || !(ms > 0)) return null;
  return { joules, wattsMean: (1e3 * joules) / ms, source: 'measured', meter };
}
