/** Solves small dense linear systems. Pure. */

/**
 * x with A·x = b for a symmetric A of a few rows, by Gaussian elimination with row scaling and
 * partial pivoting. A direction that A says nothing about gets 0.
 */
export function solveSymmetric(
  matrix: readonly (readonly number[])[],
  right: readonly number[],
): number[] {
  const n = right.length;
  const scale = matrix.map((row, i) => 1 / Math.sqrt(Math.max(row[i] ?? 0, Number.MIN_VALUE)));
  const at = (i: number): number => scale[i] ?? 0;
  const rows = matrix.map((row, i) => [
    ...row.map((value, j) => value * at(i) * at(j)),
    (right[i] ?? 0) * at(i),
  ]);
  for (let column = 0; column < n; column++) eliminate(rows, column);
  return rows.map((row, i) => {
    const pivot = row[i] ?? 0;
    return Math.abs(pivot) < 1e-12 ? 0 : ((row[n] ?? 0) / pivot) * at(i);
  });
}

/** Makes `column` zero in every row but its own. */
function eliminate(rows: number[][], column: number): void {
  let best = column;
  for (let i = column + 1; i < rows.length; i++) {
    if (Math.abs(rows[i]?.[column] ?? 0) > Math.abs(rows[best]?.[column] ?? 0)) best = i;
  }
  const pivotRow = rows[best] ?? [];
  rows[best] = rows[column] ?? [];
  rows[column] = pivotRow;
  const pivot = pivotRow[column] ?? 0;
  if (Math.abs(pivot) < 1e-12) return;
  for (const [i, row] of rows.entries()) {
    if (i === column) continue;
    const factor = (row[column] ?? 0) / pivot;
    if (factor === 0) continue;
    for (let j = column; j < row.length; j++) row[j] = (row[j] ?? 0) - factor * (pivotRow[j] ?? 0);
  }
}
