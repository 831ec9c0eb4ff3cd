/** When memory counts as short: readings of files as Linux writes them, levels of macOS. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { PressureGauge } from './observer.ts';
import { groupOf, linuxPressure, parsePsi, pressureReason } from './pressure.ts';

let root: string;
beforeAll(async () => {
  root = `${await mkdtemp(join(tmpdir(), 'plenum-psi-'))}/`;
});
afterAll(() => rm(root, { recursive: true, force: true }));

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), text);
}
const psi = (some: number, full: number): string =>
  `some avg10=${some} avg60=0.50 avg300=0.10 total=123\n` +
  `full avg10=${full} avg60=0.00 avg300=0.00 total=45\n`;

it('is said by nobody where the files are not there', async () => {
  expect(await linuxPressure(root)()).toBeNull();
  expect(pressureReason(null, true)).toBeNull();
});

it('is the worse of the machine and the control group', async () => {
  await write('proc/pressure/memory', psi(1.5, 0.5));
  const read = linuxPressure(root);
  expect(await read()).toEqual({ kind: 'psi', some: 1.5, full: 0.5, of: 'the machine' });
  await write('proc/self/cgroup', '4:memory:/old\n0::/user/app\n');
  await write('sys/fs/cgroup/user/app/memory.pressure', psi(30, 12));
  await write('sys/fs/cgroup/user/app/cgroup.events', 'populated 1\n');
  expect(await read()).toMatchObject({ some: 30, of: 'the control group' });
  await write('proc/pressure/memory', psi(50, 12));
  expect(await read()).toMatchObject({ some: 50, of: 'the machine' });
  await write('proc/pressure/memory', 'something else');
  expect(await read()).toMatchObject({ some: 30, of: 'the control group' });
});

it('is of the control group of a container, which sees itself on top', async () => {
  const inside = await mkdtemp(join(root, 'inside-'));
  const put = (path: string, text: string): Promise<void> =>
    write(`${relative(root, inside)}/${path}`, text);
  const read = linuxPressure(`${inside}/`);
  await put('proc/pressure/memory', psi(1, 0));
  await put('proc/self/cgroup', '0::/\n');
  await put('sys/fs/cgroup/memory.pressure', psi(20, 5));
  // Without the file that only the group of all processes lacks, it is the machine's own.
  expect(await read()).toMatchObject({ some: 1, of: 'the machine' });
  await put('sys/fs/cgroup/cgroup.events', 'populated 1\n');
  expect(await read()).toMatchObject({ some: 20, of: 'the control group' });
});

it('is found beside hierarchies of the first version', async () => {
  const mixed = await mkdtemp(join(root, 'mixed-'));
  const put = (path: string, text: string): Promise<void> =>
    write(`${relative(root, mixed)}/${path}`, text);
  await put('proc/self/cgroup', '4:memory:/box\n0::/box\n');
  await put('sys/fs/cgroup/unified/box/cgroup.events', 'populated 1\n');
  await put('sys/fs/cgroup/unified/box/memory.pressure', psi(15, 5));
  expect(await linuxPressure(`${mixed}/`)()).toMatchObject({ some: 15, of: 'the control group' });
});

it('reads lines as they are and no other ones', () => {
  expect(parsePsi('full avg10=1.00', 'x')).toBeNull();
  expect(parsePsi('some avg10=0.07 avg60=0', 'x')).toMatchObject({ some: 0.07, full: 0 });
  expect(groupOf('0::/\n')).toBe('');
  expect(groupOf('0::/../../etc\n')).toBeNull();
  expect(groupOf('1:cpu:/x\n')).toBeNull();
});

it('pauses at a tenth of the time and goes on at a quarter of that', () => {
  const at = (some: number, wasPaused: boolean): string | null =>
    pressureReason({ kind: 'psi', some, full: 0, of: 'the machine' }, wasPaused);
  expect(at(9.9, false)).toBeNull();
  expect(at(10, false)).toContain('the machine is short of memory: processes waited for it 10 %');
  expect(at(5, true)).not.toBeNull();
  expect(at(2.4, true)).toBeNull();
});

it('pauses from the warning of macOS on', () => {
  const at = (level: number): string | null => pressureReason({ kind: 'level', level }, false);
  expect(at(1)).toBeNull();
  expect(at(2)).toContain('warning');
  expect(at(4)).toContain('critical');
});

it('a reading that fails neither stops the server nor keeps it paused', async () => {
  let some: number | null = 40;
  const gauge = new PressureGauge(() =>
    some === null
      ? Promise.reject(new Error('gone'))
      : Promise.resolve({ kind: 'psi', some, full: 0, of: 'x' }),
  );
  expect(await gauge.refresh(0)).not.toBeNull();
  some = null;
  expect(await gauge.refresh(10)).not.toBeNull();
  expect(await gauge.refresh(2000)).toBeNull();
});
