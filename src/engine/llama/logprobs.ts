/**
 * Log probabilities of a row of logits: log-softmax of what the model computed, before bias,
 * penalties, temperature or any cut. So they sum to one over the vocabulary and do not depend on
 * how a request samples.
 */
import type { RawLogprob } from '../../scheduler/plan.ts';
import type { RowScan } from './rows.ts';

/**
 * Natural logarithms. `top` is how many of the likeliest tokens to list, 0 for none; those of
 * `watch` that are not among them follow.
 */
export function scoreRow(
  scan: RowScan,
  row: Float32Array,
  { token, top, watch = [] }: { token: number; top: number; watch?: readonly number[] | undefined },
): RawLogprob {
  scan.begin(row);
  const norm = scan.max + Math.log(scan.sumExp(row));
  const { tokens, logits } = scan.largest(row, top);
  const logprobOf = (id: number): number => (row[id] ?? Number.NEGATIVE_INFINITY) - norm;
  const listed = tokens.map((id, i) => ({ token: id, logprob: (logits[i] as number) - norm }));
  for (const id of watch) {
    if (!tokens.includes(id)) listed.push({ token: id, logprob: logprobOf(id) });
  }
  return { token, logprob: logprobOf(token), top: listed };
}
