/** The claims: verdicts and numbers, and the page that is generated from them. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { loadCatalogue, loadMeasurements } from '../model/catalogue-data.ts';
import { checkClaims } from './claims.ts';
import { claimsPage } from './claims-page.ts';
import { SPEED_TABLE } from './speed-table.ts';

const claims = checkClaims({
  catalogue: loadCatalogue(),
  table: SPEED_TABLE,
  measured: loadMeasurements('large-models-apple'),
});
const because = (id: string): string =>
  (claims.find((claim) => claim.id === id)?.because ?? []).join(' ');

describe('the claims', () => {
  it('have these verdicts', () => {
    expect(Object.fromEntries(claims.map(({ id, verdict }) => [id, verdict]))).toEqual({
      a: 'true',
      b: 'false',
      b2: 'partly',
      c: 'false',
      d: 'partly',
      e: 'false',
      f: 'false',
      g: 'false',
      h: 'partly',
      i: 'true',
      j: 'no source',
      k: 'partly',
      l: 'partly',
      m: 'false',
      n: 'true',
      o: 'partly',
    });
  });

  it.each([
    ['a', /273\.1 GB\/s.*204\.8/],
    ['b', /1120 GB\/s; the machine has 546.*12\.8 tok\/s/],
    ['d', /\$631.*\$53/],
    ['e', /\$7\.50 and \$1\.12/],
    ['f', /2\.8.*54 %; 46 %/],
    ['g', /51\.5e9 B.*55\.7e9 B/],
    ['h', /327680 B = 10\.7e9 B.*53\.2e9 B: over the old limit, under the new/],
    ['i', /1\.0 at F16, 1\.9 at Q8_0, 3\.3 at Q4_K_M/],
    ['l', /0\.83 s/],
    ['o', /24 times/],
  ])('%s shows its arithmetic', (id, arithmetic) => {
    expect(because(id)).toMatch(arithmetic);
  });

  it('are the page docs/claims.md, which `node tools/claims-doc.ts` writes', () => {
    const page = readFileSync(new URL('../../docs/claims.md', import.meta.url), 'utf8');
    expect(page).toBe(claimsPage(claims));
  });
});
