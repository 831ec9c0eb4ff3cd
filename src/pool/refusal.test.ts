/** A refusal has the sum, who is in the way, and what would fit. */
import { expect, it } from 'vitest';
import { ByteLedger, NO_FLOORS } from './ledger.ts';
import { isTransient, refusalError } from './refusal.ts';
import type { Blocker } from './residency.ts';

const need = { model: 'm', class: 'chat', bytes: 8e9 } as const;
const ledger = new ByteLedger(10e9, { ...NO_FLOORS, embed: 1e9 });
ledger.reserve({ model: 'other', class: 'chat', bytes: 5e9 });
const fit = ledger.fit(need);
const context = { availableSource: 'test', smaller: (room: number) => [`${room / 1e9} GB`] };
const by = (because: Blocker['because']): Blocker => ({ model: 'other', bytes: 5e9, because });

it.each([
  ['serving', 'the end of what other (5.00 GB) serves'],
  ['pinned', 'unpinning and unloading other (5.00 GB)'],
  ['priority', 'unloading other (5.00 GB), whose priority is higher'],
  ['loading', 'unloading other (5.00 GB) when it is loaded'],
] as const)('says what to do about one that is %s', (because, proposal) => {
  const error = refusalError(need, { kind: 'refused', fit, blockers: [by(because)] }, context);
  expect(error.code).toBe('pool_full');
  expect(error.retryAfterMs).toBe(5000);
  expect(error.message).toBe(
    'there is no room for m now: 8.00 GB for m + 5.00 GB of other chat models + 1.00 GB ' +
      'guaranteed to embed = 14.0 GB is 4.00 GB more than the pool of 10.0 GB (test). ' +
      `It would fit with: ${proposal}; 4 GB; a floor of embed below 1.00 GB`,
  );
  expect(error.details).toMatchObject({ neededBytes: 8e9, shortBytes: 4e9 });
});

it('is final where nobody is in the way', () => {
  const error = refusalError(need, { kind: 'refused', fit, blockers: [] }, context);
  expect(error).toMatchObject({ code: 'model_does_not_fit', retryAfterMs: undefined });
  expect(error.row.status).toBe(507);
});

it('is worth waiting for only while those in the way are busy and hold enough', () => {
  expect(isTransient({ kind: 'refused', fit, blockers: [by('serving')] })).toBe(true);
  expect(isTransient({ kind: 'refused', fit, blockers: [by('pinned')] })).toBe(false);
  const little = { ...by('loading'), bytes: 1e9 };
  expect(isTransient({ kind: 'refused', fit, blockers: [little, by('pinned')] })).toBe(false);
  expect(isTransient({ kind: 'refused', fit, blockers: [] })).toBe(false);
});
