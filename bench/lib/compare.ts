/**
 * Interleaved runs of this server and its peer: A B, B A, A B … , each started anew for its run, so
 * that a machine's drift falls on both and neither disturbs the other.
 */
import { basename } from 'node:path';
import { type BenchOptions, machine, progress } from './options.ts';
import { type RunningServer, type ServerKind, type Shape, startServer } from './servers.ts';

export interface Comparison<T> {
  readonly plenum: readonly T[];
  /** Empty without a peer. */
  readonly peer: readonly T[];
  readonly facts: readonly string[];
}

/** `measure` gets the number of the repetition, the same for both of a pair. */
export async function compare<T>(
  options: BenchOptions,
  shape: Shape,
  measure: (server: RunningServer, repetition: number) => Promise<T>,
): Promise<Comparison<T>> {
  const results: Record<ServerKind, T[]> = { plenum: [], 'llama-server': [] };
  const kernels: Partial<Record<ServerKind, readonly string[]>> = {};
  const kinds = subjectsOf(options);
  for (let repetition = 1; repetition <= options.repetitions; repetition++) {
    for (const kind of repetition % 2 === 1 ? kinds : kinds.toReversed()) {
      progress(`${kind}, run ${repetition} of ${options.repetitions}`);
      const server = await startServer(kind, options, shape);
      kernels[kind] = server.kernels;
      try {
        results[kind].push(await measure(server, repetition));
      } finally {
        await server.stop();
      }
    }
  }
  return {
    plenum: results.plenum,
    peer: results['llama-server'],
    facts: [...commonFacts(options, shape), ...kernelFacts(kernels)],
  };
}

/** Which servers a comparison is about, by what the command line gave. */
export function subjectsOf({ only, llamaServer }: BenchOptions): ServerKind[] {
  if (only !== null) return [only];
  return llamaServer === null ? ['plenum'] : ['plenum', 'llama-server'];
}

export function commonFacts(options: BenchOptions, shape: Shape): string[] {
  return [
    `${basename(options.model)}, ${options.threads} engine thread(s), ` +
      `${shape.parallel} sequences × ${shape.contextTokens} tokens`,
    `${machine()}; ${options.repetitions} interleaved runs; median (lowest to highest)`,
  ];
}

function kernelFacts(kernels: Partial<Record<ServerKind, readonly string[]>>): string[] {
  const own = kernels.plenum ?? [];
  const peer = kernels['llama-server'] ?? [];
  if (own.length > 0 && own.join() === peer.join()) {
    return [`the same engine libraries for both: ${own.map((path) => basename(path)).join(', ')}`];
  }
  const different = own.length > 0 && peer.length > 0 ? 'DIFFERENT engine libraries: ' : '';
  return Object.entries(kernels)
    .filter(([, paths]) => paths.length > 0)
    .map(([kind, paths]) => `${different}${kind} on ${paths.map((p) => basename(p)).join(', ')}`);
}
