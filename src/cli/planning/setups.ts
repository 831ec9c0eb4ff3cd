/**
 * Machines as a user names them: `ID`, with a size of memory in GiB behind it (`m4-max-40c:64`)
 * or a number of cards before it (`2xrtx-3090`).
 */
import { PlenumError } from '../../base/errors.ts';
import type { Catalogue } from '../../model/catalogue-types.ts';
import { findMachine } from '../../planner/lookup.ts';
import type { MachineSetup } from '../../planner/setup.ts';

const DEVICES_MAX = 64;
const MACHINES_MAX = 100;
const FORM = /^(?:(\d+)x)?([a-z][\w.-]*)(?::(\d+))?$/i;

/** @throws PlenumError `usage` with the nearest machines, or with the sizes that there are. */
export function setupNamed(catalogue: Catalogue, text: string): MachineSetup {
  const [, count, id, size] = FORM.exec(text) ?? [];
  if (id === undefined) {
    const forms = 'ID, ID:GIB such as m4-max-40c:64, or NxID such as 2xrtx-3090';
    throw new PlenumError('usage', `'${text}' names no machine; write ${forms}`);
  }
  const machine = findMachine(catalogue, id);
  const devices = count === undefined ? 1 : Number(count);
  if (devices < 1 || devices > DEVICES_MAX) {
    throw new PlenumError('usage', `${text}: from 1 to ${DEVICES_MAX} cards can be planned for`);
  }
  const sizes = machine.memory.map(({ value }) => value);
  const memoryGib = size === undefined ? sizes.at(-1) : Number(size);
  if (memoryGib === undefined) {
    const how = `write ${machine.id}:64 for 64 GiB`;
    throw new PlenumError('usage', `The catalogue does not know ${machine.id}'s memory; ${how}`);
  }
  if (memoryGib === 0 || (sizes.length > 0 && !sizes.includes(memoryGib))) {
    const known = `${sizes.join(', ')} GiB`;
    throw new PlenumError('usage', `${machine.id} has no ${memoryGib} GiB; it comes with ${known}`);
  }
  return { machine, memoryGib, devices };
}

/** Of a list with commas between. */
export function setupsNamed(catalogue: Catalogue, list: string): readonly MachineSetup[] {
  const names = list.split(',').map((name) => name.trim());
  if (names.length > MACHINES_MAX) {
    throw new PlenumError('usage', `At most ${MACHINES_MAX} machines are compared at a time`);
  }
  return names.map((name) => setupNamed(catalogue, name));
}

/** `2 × rtx-3090 (24 GiB)`. */
export function setupLabel({ machine, memoryGib, devices = 1 }: MachineSetup): string {
  const count = devices === 1 ? '' : `${devices} × `;
  return `${count}${machine.id}${memoryGib === undefined ? '' : ` (${memoryGib} GiB)`}`;
}

/** As it may be written: `2xrtx-3090:24`. */
export function setupName({ machine, memoryGib, devices = 1 }: MachineSetup): string {
  const count = devices === 1 ? '' : `${devices}x`;
  return `${count}${machine.id}${memoryGib === undefined ? '' : `:${memoryGib}`}`;
}
