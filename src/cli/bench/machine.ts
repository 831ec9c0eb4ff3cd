/**
 * The machine that a bench runs on, for its report. The graphics processor is asked for by programs
 * of the system, which may be missing or hang: what is not known in a moment is null.
 */
import { arch, cpus, release, totalmem, type } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import si from 'systeminformation';
import type { Machine } from '../../bench/result.ts';

export async function benchMachine(): Promise<Machine> {
  const processors = cpus();
  return {
    os: `${type()} ${release()}`,
    arch: arch(),
    cpu: processors[0]?.model.trim() || 'unknown',
    cores: processors.length,
    memoryBytes: totalmem(),
    gpu: await graphicsName(),
  };
}

/** What of systeminformation's answer is read. */
interface Graphics {
  readonly controllers: readonly {
    readonly vendor: string;
    readonly model: string;
    /** Of the GPU, where the system says so (macOS). */
    readonly cores?: number | undefined;
  }[];
}

/** Much longer than the programs take that are asked; a bench starts no later than this. */
const GRAPHICS_MS_MAX = 1500;

/** All that the system lists, or null where it lists none, fails or takes too long. */
export async function graphicsName(
  read: () => Promise<Graphics> = () => si.graphics(),
  msMax = GRAPHICS_MS_MAX,
): Promise<string | null> {
  const timer = new AbortController();
  const late = delay(msMax, null, { signal: timer.signal }).catch(() => null);
  try {
    const graphics = await Promise.race([read(), late]);
    const names = (graphics?.controllers ?? []).map(nameOf).filter((name) => name !== '');
    return names.length === 0 ? null : names.join(', ');
  } catch {
    // A program that the system does not have: nothing is known.
    return null;
  } finally {
    timer.abort();
  }
}

function nameOf({ vendor, model, cores }: Graphics['controllers'][number]): string {
  const [maker, name] = [vendor.trim(), model.trim()];
  const isNamed = name.toLowerCase().startsWith(maker.toLowerCase());
  const full = isNamed ? name : `${maker} ${name}`.trim();
  return full !== '' && cores !== undefined && cores > 0 ? `${full} (${cores} cores)` : full;
}
