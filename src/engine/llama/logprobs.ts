/**
 * Log probabilities of a row of logits: log-softmax of what the model computed, before bias,
 * penalties, temperature or any cut. So they sum to one over the vocabulary and do not depend on how
 * a request samples.
 */
import type { RawLogprob } from '../../scheduler/plan.ts';
import type { RowScan } from './rows.ts';

/** Natural logarithms. `top` is how many of the likeliest tokens to list, 0 for none. */
export function scoreRow(
  scan: RowScan,
  row: Float32Array,
  { token, top }: { token: number; top: number },
): RawLogprob {
  scan.begin(row);
  const norm = scan.max + Math.log(scan.sumExp(row));
  const { tokens, logits } = scan.largest(row, top);
  return {
    token,
    logprob: (row[token] ?? Number.NEGATIVE_INFINITY) - norm,
    top: tokens.map((id, i) => ({ token: id, logprob: (logits[i] as number) - norm })),
  };
}
