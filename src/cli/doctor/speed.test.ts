/** What the doctor says of a machine's speed, known or not. */
import { expect, it } from 'vitest';
import { PROFILE } from '../../planner/profile-fixture.ts';
import { speedCheck } from './speed.ts';

const { machine } = PROFILE;

it('is what was measured, as an entry beside those of the catalogue', () => {
  const { status, found, facts } = speedCheck({ kind: 'found', profile: PROFILE }, machine, null);
  expect(status).toBe('ok');
  expect(found).toContain('measured 2026-11-27: 12.0 GB/s, 60 GFLOP/s with 1 thread');
  expect(facts).toMatchObject({ id: 'this-machine', memory_gib: 16, bandwidth_gb_per_s: 12 });
});

it('is unknown where nobody measured, and stays null', () => {
  const none = { kind: 'none', hasAny: false, why: 'this machine has not been measured' } as const;
  const { status, advice, facts } = speedCheck(none, machine, null);
  expect(status).toBe('ok');
  expect(advice.join()).toContain('plenum measure');
  expect(facts).toMatchObject({ name: 'Test Processor', bandwidth_gb_per_s: null });
});

it('is a warning with the reason where a profile does not hold', () => {
  const none = { kind: 'none', hasAny: true, why: 'it is of 8 threads, not of 1' } as const;
  const { status, advice } = speedCheck(none, machine, null);
  expect(status).toBe('warn');
  expect(advice[0]).toBe('it is of 8 threads, not of 1');
});
