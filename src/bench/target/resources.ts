/** Samples memory and processor time of a server's processes while a run goes on. */
import type { Resources } from '../result.ts';
import { type TreeUse, treeUse } from './process-tree.ts';

/** Summing a map of gigabytes costs the kernel milliseconds: not more often than this. */
const SAMPLE_MS = 1000;

export class ResourceSampler {
  readonly #pid: number;
  #epoch = performance.now();
  readonly #samples: Resources['samples'] = [];
  #first: TreeUse | null = null;
  #last: TreeUse | null = null;
  #timer: NodeJS.Timeout | null = null;
  #pending: Promise<void> = Promise.resolve();
  #isBusy = false;

  private constructor(pid: number) {
    this.#pid = pid;
  }

  static async start(pid: number): Promise<ResourceSampler> {
    const sampler = new ResourceSampler(pid);
    await sampler.#sample();
    sampler.#timer = setInterval(() => {
      if (!sampler.#isBusy) sampler.#pending = sampler.#sample();
    }, SAMPLE_MS);
    return sampler;
  }

  /** The run begins: a first sample takes its time, and was taken before. */
  begin(epoch: number): void {
    this.#epoch = epoch;
  }

  /** Null where the processes could not be looked at. */
  async stop(): Promise<Resources | null> {
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#pending;
    await this.#sample();
    if (this.#first === null || this.#last === null) return null;
    const memory = this.#samples.map(({ memoryBytes }) => memoryBytes);
    return {
      memoryMethod: this.#last.method,
      memoryPeakBytes: Math.max(...memory),
      memoryMeanBytes: memory.reduce((total, one) => total + one, 0) / memory.length,
      cpuMs: Math.max(0, this.#last.cpuMs - this.#first.cpuMs),
      processes: this.#last.processes,
      samples: this.#samples,
    };
  }

  async #sample(): Promise<void> {
    this.#isBusy = true;
    const atMs = Math.round(performance.now() - this.#epoch);
    const use = await treeUse(this.#pid).catch(() => null);
    this.#isBusy = false;
    if (use === null) return;
    this.#first ??= use;
    this.#last = use;
    this.#samples.push({ atMs, cpuMs: use.cpuMs, memoryBytes: use.memoryBytes });
  }
}
