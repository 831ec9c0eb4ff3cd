/**
 * A child process that says what a host would take and ends: it lays a model out without loading
 * it. A failure of native code in it costs nothing but the answer.
 */
import { enableCompileCache } from 'node:module';
import { toErrorRecord } from '../base/errors.ts';
import type { HostSpec } from '../wire/host.ts';
import type { WeighReply } from '../wire/pool.ts';

enableCompileCache();

function answer(reply: WeighReply): void {
  const leave = (): void => {
    process.kill(process.pid, 'SIGKILL');
  };
  // Nothing native is taken down in order: the process was for this one answer.
  if (process.connected) process.send?.(reply, leave);
  else leave();
}

async function weigh(spec: HostSpec): Promise<void> {
  try {
    const { simulateAllocation } = await import('../engine/llama/simulate.ts');
    answer({ kind: 'weighed', allocation: simulateAllocation(spec) });
  } catch (thrown) {
    answer({ kind: 'failed', error: toErrorRecord(thrown) });
  }
}

process.on('message', (spec: HostSpec) => void weigh(spec));
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
process.on('SIGINT', () => undefined);
