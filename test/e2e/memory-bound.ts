/**
 * A bound on the memory of a process and its children past which the kernel kills: a control group
 * of the test's own, where this system lets it have one.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';

export interface MemoryBound {
  /** Times that the group was at its limit and the kernel killed; null where it does not say. */
  kills(): number | null;
  remove(): void;
}

const V1 = '/sys/fs/cgroup/memory';
const V2 = '/sys/fs/cgroup';

/** null where control groups cannot be written; said aloud, for then less is tested. */
export function boundMemory(pid: number, limitBytes: number): MemoryBound | null {
  const isV1 = existsSync(`${V1}/memory.limit_in_bytes`);
  const folder = `${isV1 ? V1 : V2}/plenum-test-${pid}`;
  try {
    mkdirSync(folder);
    writeFileSync(`${folder}/${isV1 ? 'memory.limit_in_bytes' : 'memory.max'}`, `${limitBytes}`);
    writeFileSync(`${folder}/cgroup.procs`, String(pid));
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    console.warn(`no control group to bound memory with: ${error.message}`);
    if (existsSync(folder)) rmdirSync(folder);
    return null;
  }
  return {
    kills: () => {
      const file = `${folder}/${isV1 ? 'memory.oom_control' : 'memory.events'}`;
      const count = /^oom_kill (\d+)$/m.exec(existsSync(file) ? readFileSync(file, 'utf8') : '');
      return count === null ? null : Number(count[1]);
    },
    remove: () => rmdirSync(folder),
  };
}
