/**
 * What meters print, as watts or joules. Pure: text in, numbers out; null where it has no reading,
 * never 0. The shapes are those of Linux's powercap (Documentation/power/powercap), of Apple's
 * powermetrics and of macmon's `pipe`, and of nvidia-smi's CSV.
 */

/** One energy counter of /sys/class/powercap, in microjoules. */
export interface RaplCounter {
  /** `intel-rapl:0`, `intel-rapl:0:1`: of the second, the first is the whole. */
  readonly id: string;
  /** `package-0`, `dram`, `core`, `psys`. */
  readonly name: string;
  readonly microjoules: number;
  /** Where the counter begins again at 0. */
  readonly microjoulesMax: number;
}

/** The files of one counter, as read; null for a file that cannot be a counter's. */
export function parseRapl(
  id: string,
  files: { readonly name: string; readonly energy: string; readonly max: string },
): RaplCounter | null {
  const [microjoules, microjoulesMax] = [whole(files.energy), whole(files.max)];
  const name = files.name.trim();
  if (name === '' || microjoules === null || microjoulesMax === null) return null;
  return { id, name, microjoules, microjoulesMax };
}

const whole = (text: string): number | null => (/^\d+\s*$/.test(text) ? Number(text) : null);

/**
 * Joules between two readings: packages and the memory beside them. What lies within a package
 * (core, uncore) is counted with it, and a platform counter (psys) would count it again. A counter
 * that went round once is put right; readings must not be further apart than that. Null where a
 * counter is missing at the end, or there is none.
 */
export function raplJoules(
  before: readonly RaplCounter[],
  after: readonly RaplCounter[],
): number | null {
  const counted = before.filter(({ name }) => name.startsWith('package') || name === 'dram');
  if (!counted.some(({ name }) => name.startsWith('package'))) return null;
  let sum = 0;
  for (const { id, microjoules, microjoulesMax } of counted) {
    const end = after.find((counter) => counter.id === id);
    if (end === undefined) return null;
    const difference = end.microjoules - microjoules;
    sum += difference >= 0 ? difference : difference + microjoulesMax;
  }
  return sum / 1e6;
}

/** Watts of one line of `macmon pipe`: of the system, or of its chip where that is missing. */
export function macmonWatts(line: string): { readonly watts: number; readonly of: string } | null {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    // A line that was cut off when the process was ended.
    return null;
  }
  if (typeof json !== 'object' || json === null) return null;
  const read = (name: string): number | null => {
    const value: unknown = Object.entries(json).find(([key]) => key === name)?.[1];
    return typeof value === 'number' && value > 0 ? value : null;
  };
  const system = read('sys_power');
  if (system !== null) return { watts: system, of: 'whole system' };
  const chip = read('all_power');
  return chip === null ? null : { watts: chip, of: 'chip alone' };
}

/** Watts of every sample in the text that `powermetrics --samplers cpu_power` prints. */
export function powermetricsWatts(text: string): number[] {
  const pattern = /^Combined Power \(CPU \+ GPU(?: \+ ANE)?\):\s*(\d+(?:\.\d+)?) mW/gm;
  return [...text.matchAll(pattern)].map(([, milliwatts]) => Number(milliwatts) / 1e3);
}

/**
 * Watts of all cards in one answer to
 * `nvidia-smi --query-gpu=power.draw --format=csv,noheader,nounits`; null where one has no meter.
 */
export function nvidiaWatts(lines: readonly string[]): number | null {
  const values = lines.map((line) => line.trim()).filter((line) => line !== '');
  if (values.length === 0) return null;
  let sum = 0;
  for (const value of values) {
    if (!/^\d+(\.\d+)?$/.test(value)) return null;
    sum += Number(value);
  }
  return sum;
}

export interface PowerSample {
  readonly atMs: number;
  readonly watts: number;
}

/**
 * Joules from `fromMs` to `toMs`: each sample holds from the one before it to itself, the last one
 * to the end. Null without a sample within.
 */
export function joulesOf(
  samples: readonly PowerSample[],
  { fromMs, toMs }: { readonly fromMs: number; readonly toMs: number },
): number | null {
  const within = samples.filter(({ atMs }) => atMs > fromMs && atMs <= toMs);
  const last = within.at(-1);
  if (last === undefined) return null;
  let sum = 0;
  let since = fromMs;
  for (const { atMs, watts } of within) {
    sum += (watts * (atMs - since)) / 1e3;
    since = atMs;
  }
  return sum + (last.watts * (toMs - since)) / 1e3;
}
