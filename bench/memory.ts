/**
 * Resident memory of the front process and of the model's host, after start and one request. From
 * the host's is taken what the engine library takes in a process that holds nothing else: the rest
 * is what this server costs. The peer's whole process stands beside it.
 */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import type { BareEngine } from './lib/bare-engine.ts';
import { compare, subjectsOf } from './lib/compare.ts';
import { benchOptions, markdownTable, printResult, progress } from './lib/options.ts';
import { descendants, memoryUse } from './lib/processes.ts';
import type { RunningServer } from './lib/servers.ts';
import { formatValues } from './lib/stats.ts';

const options = benchOptions({
  name: 'memory',
  what: 'resident memory of the server’s processes',
  more: {},
});
const shape = { contextTokens: 1024, parallel: 8 };
/** Collections and late loading are over by then. */
const SETTLE_MS = 3000;
const MEGABYTE = 1e6;

const bareEngineSchema = z.object({ libraryBytes: z.number(), reportedBytes: z.number() });

interface Resident {
  readonly firstBytes: number;
  /** Of all children together; null where there are none. */
  readonly childrenBytes: number | null;
}

async function measure(server: RunningServer): Promise<Resident> {
  await delay(SETTLE_MS);
  const children = descendants(server.pid).map((pid) => memoryUse(pid).pssBytes);
  return {
    firstBytes: memoryUse(server.pid).pssBytes,
    childrenBytes: children.length === 0 ? null : children.reduce((sum, bytes) => sum + bytes, 0),
  };
}

function bareEngine(): BareEngine {
  const script = join(import.meta.dirname, 'lib/bare-engine.ts');
  const { contextTokens, parallel } = shape;
  const args = [script, options.model, options.threads, contextTokens, parallel].map(String);
  const stdio = ['ignore', 'pipe', 'ignore'] as const;
  const output = execFileSync(process.execPath, args, { encoding: 'utf8', stdio: [...stdio] });
  return bareEngineSchema.parse(JSON.parse(output.trim().split('\n').at(-1) ?? ''));
}

const { plenum, peer, facts } = await compare(options, shape, measure);
const bare: BareEngine[] = [];
if (subjectsOf(options).includes('plenum')) {
  for (let repetition = 1; repetition <= options.repetitions; repetition++) {
    progress(`engine library alone, run ${repetition} of ${options.repetitions}`);
    bare.push(bareEngine());
  }
}

const megabytes = (values: readonly (number | null)[]): string =>
  formatValues(values.filter((value) => value !== null).map((value) => value / MEGABYTE));
const hostBytes = plenum.map((use) => use.childrenBytes);
const ownBytes = hostBytes.map((bytes, i) =>
  bytes === null ? null : bytes - (bare[i]?.libraryBytes ?? Number.NaN),
);
const withoutReported = hostBytes.map((bytes, i) =>
  bytes === null ? null : bytes - (bare[i]?.reportedBytes ?? Number.NaN),
);
printResult(
  options,
  {
    title: 'Resident memory, MB',
    facts: [...facts, 'proportional set size: a page that two processes map counts half for each'],
    table: markdownTable(
      ['what', 'MB'],
      [
        ['front process', megabytes(plenum.map((use) => use.firstBytes))],
        ['model host', megabytes(hostBytes)],
        ['engine library alone', megabytes(bare.map((use) => use.libraryBytes))],
        ['model host without it', megabytes(ownBytes)],
        ['buffers that the library reports', megabytes(bare.map((use) => use.reportedBytes))],
        ['model host without those', megabytes(withoutReported)],
        ['llama-server', megabytes(peer.map((use) => use.firstBytes))],
      ],
    ),
  },
  { plenum, bare, peer },
);
