/** Profiles on the disk: kept, found again, and refused with the reason. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PROFILE } from '../../planner/profile-fixture.ts';
import { findProfile, type ProfileWish, parseProfile, readProfiles, saveProfile } from './store.ts';

let home = '';

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'plenum-profiles-'));
});
afterEach(() => rm(home, { recursive: true, force: true }));

const wish = (more: Partial<ProfileWish> = {}): ProfileWish => ({
  home,
  here: () => Promise.resolve(PROFILE.machine),
  engine: PROFILE.engine,
  ...more,
});
const whyNone = async (more: Partial<ProfileWish> = {}): Promise<string> => {
  const found = await findProfile(wish(more));
  return found.kind === 'none' ? found.why : 'found';
};

describe('a profile that was saved', () => {
  it('is found again, whole', async () => {
    await saveProfile(home, PROFILE);
    expect(await findProfile(wish())).toEqual({ kind: 'found', profile: PROFILE });
  });

  it('is replaced by the next of as many threads, and stands beside one of more', async () => {
    await saveProfile(home, PROFILE);
    await saveProfile(home, { ...PROFILE, measuredAt: '2026-11-28T12:00:00.000Z' });
    await saveProfile(home, { ...PROFILE, threads: 8, measuredAt: '2026-11-20T12:00:00.000Z' });
    const { profiles } = await readProfiles(home);
    expect(profiles.map(({ threads }) => threads)).toEqual([1, 8]);
    const found = await findProfile(wish({ threads: 8 }));
    expect(found.kind === 'found' && found.profile.threads).toBe(8);
  });
});

describe('what cannot be used says why', () => {
  it('nothing measured yet, without asking what machine this is', async () => {
    const here = () => Promise.reject(new Error('asked'));
    expect(await findProfile(wish({ here }))).toMatchObject({ kind: 'none', hasAny: false });
  });

  it('another machine, engine, number of threads, kind of device', async () => {
    await saveProfile(home, PROFILE);
    const other = { ...PROFILE.machine, cpu: 'Other Processor' };
    expect(await whyNone({ here: () => Promise.resolve(other) })).toMatch(
      /cpu Test Processor.*has Other Processor/,
    );
    const larger = { ...PROFILE.machine, ramBytes: 64 * 2 ** 30 };
    expect(await whyNone({ here: () => Promise.resolve(larger) })).toMatch(/16 GiB.*64 GiB/);
    expect(await whyNone({ engine: 'llama v9' })).toMatch(/of llama v0.4.0.*llama v9/);
    expect(await whyNone({ threads: 4 })).toMatch(/of 1 thread, not of 4/);
    expect(await whyNone({ compute: 'gpu' })).toMatch(/of the CPU/);
    expect(await whyNone({ kernels: { layout: 'unified' } })).toMatch(
      /of a cache for each sequence.*has one cache for all/,
    );
    expect(await whyNone({ kernels: { layout: 'split' } })).toBe('found');
  });

  it('a file that is no profile, and the others are still found', async () => {
    await saveProfile(home, PROFILE);
    await writeFile(join(home, 'profiles', 'cpu-2.json'), '{"schema": 1, "mach');
    expect((await readProfiles(home)).problems[0]).toMatch(/cpu-2\.json.*not JSON/);
    expect((await findProfile(wish())).kind).toBe('found');
  });

  it.each([
    [
      'an older schema',
      { ...PROFILE, schema: 0 },
      new RegExp(`schema 0 is older than ${PROFILE.schema}`),
    ],
    [
      'a newer schema',
      { ...PROFILE, schema: PROFILE.schema + 1 },
      new RegExp(`is newer than ${PROFILE.schema}`),
    ],
    ['no schema', { machine: PROFILE.machine }, /names no schema/],
    ['a rate of nothing', { ...PROFILE, opsPerSecond: 0 }, /opsPerSecond/],
    ['a missing part', { ...PROFILE, params: undefined }, /params/],
    ['a part too many', { ...PROFILE, colour: 'red' }, /colour/],
  ])('%s', (_, value, message) => {
    expect(() => parseProfile(JSON.stringify(value))).toThrow(message);
  });
});
