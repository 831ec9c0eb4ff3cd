/**
 * Opens the engine's library in a process of its own and sends what it found, so that a crash of
 * native code is seen from outside. Started by engine-probe.ts.
 */
import { toErrorRecord } from '../../base/errors.ts';
import type { ProbeReply } from './engine-probe.ts';

async function probe(): Promise<ProbeReply> {
  try {
    const { probeDevices } = await import('../../engine/llama/native.ts');
    return { kind: 'found', probe: probeDevices() };
  } catch (thrown) {
    return { kind: 'refused', error: toErrorRecord(thrown) };
  }
}

const reply = await probe();
process.send?.(reply, () => process.disconnect());
