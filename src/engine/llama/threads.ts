/**
 * How many threads compute. More than the physical performance cores makes steps slower: every
 * matrix product ends at a barrier, which the slowest thread reaches last.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import os from 'node:os';

/**
 * Apple: performance cores only, since an efficiency core holds up every barrier. Linux: one thread
 * per physical core, since two hyper-threads share one vector unit, and never more than the process
 * may use (affinity, container quota). Elsewhere what Node offers.
 */
export function defaultThreads(): number {
  const available = os.availableParallelism();
  const cores = process.platform === 'darwin' ? performanceCores() : physicalCores();
  return Math.max(1, Math.min(available, cores ?? available));
}

function performanceCores(): number | null {
  try {
    const text = execFileSync('sysctl', ['-n', 'hw.perflevel0.physicalcpu'], { encoding: 'utf8' });
    return positive(Number(text.trim()));
  } catch {
    // Machines with one kind of core have no such key; all of them count then.
    return null;
  }
}

/** Counts distinct sets of sibling hyper-threads (Linux, Documentation/admin-guide/cputopology). */
function physicalCores(): number | null {
  const siblings = new Set<string>();
  for (let cpu = 0; cpu < os.cpus().length; cpu++) {
    const file = `/sys/devices/system/cpu/cpu${cpu}/topology/thread_siblings_list`;
    try {
      siblings.add(readFileSync(file, 'utf8').trim());
    } catch {
      // No topology (another system, or a container that hides it): the caller falls back.
      return null;
    }
  }
  return positive(siblings.size);
}

const positive = (n: number): number | null => (Number.isInteger(n) && n > 0 ? n : null);
