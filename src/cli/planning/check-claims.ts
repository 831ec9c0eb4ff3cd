/** `plenum check-claims`: every claim with its verdict and arithmetic. */
import { loadCatalogue, loadMeasurements } from '../../model/catalogue-data.ts';
import { checkClaims as computeClaims } from '../../planner/claims.ts';
import { SPEED_TABLE } from '../../planner/speed-table.ts';
import { type CliContext, paint } from '../context.ts';
import { columns, paragraph } from './columns.ts';

export function checkClaims(options: { json?: true }, context: CliContext): void {
  const { stdout } = context;
  const claims = computeClaims({
    catalogue: loadCatalogue(),
    table: SPEED_TABLE,
    measured: loadMeasurements('large-models-apple'),
  });
  if (options.json === true) {
    stdout.write(`${JSON.stringify(claims, null, 2)}\n`);
    return;
  }
  const rows = claims.map(({ id, verdict, claim }) => [id, verdict, claim]);
  stdout.write(columns(['', 'VERDICT', 'CLAIM'], rows, stdout));
  for (const { id, verdict, because } of claims) {
    stdout.write(paint(stdout, 'bold', `\n${id}: ${verdict}\n`));
    for (const line of because) stdout.write(paragraph(line, stdout, { indent: 2 }));
  }
}
