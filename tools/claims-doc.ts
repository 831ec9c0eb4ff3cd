/** Writes docs/claims.md from the catalogue and the planner. A test keeps the page true. */
import { writeFileSync } from 'node:fs';
import { loadCatalogue, loadMeasurements } from '../src/model/catalogue-data.ts';
import { checkClaims } from '../src/planner/claims.ts';
import { claimsPage } from '../src/planner/claims-page.ts';
import { SPEED_TABLE } from '../src/planner/speed-table.ts';

const claims = checkClaims({
  catalogue: loadCatalogue(),
  table: SPEED_TABLE,
  measured: loadMeasurements('large-models-apple'),
});
for (const { id, verdict, claim } of claims)
  console.log(`${id.padEnd(3)} ${verdict.padEnd(10)} ${claim}`);
writeFileSync(new URL('../docs/claims.md', import.meta.url), claimsPage(claims));
