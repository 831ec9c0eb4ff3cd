/**
 * Reads memory in a stream, with so many threads, and says how fast: a search for a byte that is
 * not there (the C library's memchr, vectorised on every platform), over buffers that no cache
 * holds. In worker threads of this process; it allocates BUFFER_BYTES in all.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { PlenumError } from '../../base/errors.ts';
import { median, spreadPct } from './samples.ts';

export interface BandwidthFound {
  readonly bytesPerSecond: number;
  readonly spreadPct: number;
}

/** Of all threads: the largest last-level caches of a socket are a few hundred MiB. */
const BUFFER_BYTES = 1024 * 2 ** 20;
const PASSES = 7;

const SCRIPT = new URL('./bandwidth-worker.ts', import.meta.url);

/** Rejects with `engine_failed` when a thread dies, for want of memory say. */
export async function measureBandwidth(
  threads: number,
  bufferBytes = BUFFER_BYTES,
): Promise<BandwidthFound> {
  const bytesEach = Math.floor(bufferBytes / threads);
  const workers = Array.from({ length: threads }, () => {
    return new Worker(SCRIPT, { workerData: { bytes: bytesEach } });
  });
  try {
    await allAnswer(workers);
    const rates: number[] = [];
    for (let pass = 0; pass < PASSES; pass++) {
      const from = performance.now();
      for (const worker of workers) worker.postMessage('read');
      await allAnswer(workers);
      rates.push((1e3 * bytesEach * threads) / (performance.now() - from));
    }
    return { bytesPerSecond: median(rates), spreadPct: spreadPct(rates) };
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

async function allAnswer(workers: readonly Worker[]): Promise<void> {
  try {
    await Promise.all(workers.map((worker) => once(worker, 'message')));
  } catch (cause) {
    throw new PlenumError('engine_failed', 'a thread that reads memory failed', { cause });
  }
}
