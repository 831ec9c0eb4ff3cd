/** Which machine this is, as far as a measurement is bound to it. It measures nothing. */
import si from 'systeminformation';
import { PINNED_RELEASE } from '../../engine/llama/library.ts';
import type { MachineIdentity } from '../../wire/profile.ts';

/** As the engine names itself in what it reports. */
export const ENGINE_HERE = `llama ${PINNED_RELEASE}`;

export async function identityHere(): Promise<MachineIdentity> {
  const [cpu, memory] = await Promise.all([si.cpu(), si.mem()]);
  return {
    platform: process.platform,
    arch: process.arch,
    cpu: `${cpu.manufacturer} ${cpu.brand}`.trim() || 'unknown processor',
    cores: Math.max(1, cpu.physicalCores),
    ramBytes: memory.total,
  };
}

/** What differs between two machines, in words; null when they are one. */
export function differenceOf(measured: MachineIdentity, here: MachineIdentity): string | null {
  for (const key of ['platform', 'arch', 'cpu', 'cores'] as const) {
    const [then, now] = [measured[key], here[key]];
    if (then !== now) return `it was measured with ${key} ${then}, and this machine has ${now}`;
  }
  // Virtual machines and kernels give or take some pages.
  const gib = (bytes: number): number => Math.round(bytes / 2 ** 30);
  if (gib(measured.ramBytes) === gib(here.ramBytes)) return null;
  const [then, now] = [gib(measured.ramBytes), gib(here.ramBytes)];
  return `it was measured with ${then} GiB, and this machine has ${now} GiB`;
}
