/**
 * Chooses a token from a row of logits that is already biased and penalised: the likeliest, or a
 * draw after top-k, top-p and min-p, in llama.cpp's order, with the temperature applied last. Each
 * cut is a floor under the logits, so tokens with equal logits stay or go together.
 *
 * Not libllama's sampler chain, for its time per token on 49,152 logits (one core, 2 GHz x86, ms):
 *
 *                                  chain        here
 *   greedy                         0.08         0.06
 *   a draw from everything         0.45         0.1      the default of OpenAI's clients
 *   top-p 0.9                      2.9 … 4.0    0.5 … 0.8
 *   top-k 40, top-p, min-p         0.09         0.15 … 0.19
 *   each penalty                   0.3          0.01     (sampler.ts)
 *
 * Eight draws of the chain are 4 % of a small model's step. The distributions are the same, and a
 * seed gives the same tokens on every machine that gives the same logits.
 */
import type { Prng } from '../../base/prng.ts';
import type { SamplingParams } from '../../wire/generation.ts';
import type { RowScan } from './rows.ts';

/** Division of logits by less overflows a float; it means greedy. */
const TEMPERATURE_MIN = 1e-6;
/** Up to this many the largest are kept in order while the row is read; beyond it, by histogram. */
const TOP_K_IN_ORDER = 128;

type Cuts = Pick<SamplingParams, 'temperature' | 'topK' | 'topP' | 'minP'>;

/** Takes nothing of `prng` when greedy. */
export function chooseToken(
  scan: RowScan,
  row: Float32Array,
  { params, prng }: { params: Cuts; prng: Prng },
): number {
  scan.begin(row);
  const { temperature } = params;
  if (temperature < TEMPERATURE_MIN) return scan.argmax(row);
  return scan.draw(row, { temperature, floor: floorOf(scan, row, params) }, prng);
}

/** The smallest logit that the cuts leave. */
function floorOf(scan: RowScan, row: Float32Array, { topK, topP, minP }: Cuts): number {
  let floor = Number.NEGATIVE_INFINITY;
  if (topK > 0 && topK < row.length) {
    const few = topK <= TOP_K_IN_ORDER;
    floor = few ? scan.largest(row, topK).threshold : scan.floorOfCount(row, topK);
  }
  if (topP < 1) floor = scan.floorOfShare(row, topP, floor);
  return minP > 0 ? Math.max(floor, scan.max + Math.log(minP)) : floor;
}
