/**
 * The sampler state of one simulated request: the same order as the native chain (bias, penalties,
 * then greedy or top-k, top-p, min-p, temperature, a draw). The draw is a function of the seed and
 * of how many tokens this request has sampled, so it replays whatever the batches were.
 */
import { assert, defined } from '../../base/assert.ts';
import type { SamplingParams } from '../../wire/generation.ts';
import { type Candidate, FLOOR_LOGIT } from './distribution.ts';
import { fraction, mix } from './hash.ts';
import { CONTROL, type SimVocab } from './vocab.ts';

export class SimSampler {
  readonly params: SamplingParams;
  readonly prompt: Int32Array;
  readonly #seed: number;
  readonly #generated: number[] = [];
  readonly #counts = new Map<number, number>();

  constructor(params: SamplingParams, prompt: Int32Array) {
    this.params = params;
    this.prompt = prompt;
    this.#seed = params.seed ?? Math.floor(Math.random() * 2 ** 32);
  }

  sample(candidates: readonly Candidate[], vocab: SimVocab): number {
    const logits = this.#penalised(this.#biased(candidates, vocab));
    logits.sort((a, b) => b.logit - a.logit || a.token - b.token);
    const token = this.params.temperature === 0 ? best(logits) : this.#draw(logits);
    this.#generated.push(token);
    this.#counts.set(token, (this.#counts.get(token) ?? 0) + 1);
    return token;
  }

  #biased(candidates: readonly Candidate[], vocab: SimVocab): Candidate[] {
    const logits = new Map(candidates.map(({ token, logit }) => [token, logit]));
    for (const [token, bias] of this.params.logitBias) {
      assert(token >= 0 && token < vocab.size, `logit bias for token ${token}`);
      logits.set(token, (logits.get(token) ?? FLOOR_LOGIT) + bias);
    }
    if (this.params.ignoreEos) {
      for (const token of logits.keys()) if (vocab.isEndOfGeneration(token)) logits.delete(token);
    }
    // Something that is not banned must be left: the floor has the rest of the vocabulary.
    for (let rank = 0; ![...logits.values()].some((l) => l > FLOOR_LOGIT - 20); rank++) {
      const token = vocab.wordToken(rank % vocab.wordCount);
      if (!logits.has(token)) logits.set(token, FLOOR_LOGIT);
      if (rank >= vocab.wordCount) logits.set(CONTROL.imStart, FLOOR_LOGIT);
    }
    return [...logits].map(([token, logit]) => ({ token, logit }));
  }

  #penalised(candidates: Candidate[]): Candidate[] {
    const { repeatPenalty, frequencyPenalty, presencePenalty } = this.params;
    if (repeatPenalty === 1 && frequencyPenalty === 0 && presencePenalty === 0) return candidates;
    const window = repeatPenalty === 1 ? new Set<number>() : this.#window();
    return candidates.map(({ token, logit }) => {
      const count = this.#counts.get(token) ?? 0;
      const repeated = logit > 0 ? logit / repeatPenalty : logit * repeatPenalty;
      const kept = window.has(token) ? repeated : logit;
      return {
        token,
        logit: kept - count * frequencyPenalty - (count > 0 ? presencePenalty : 0),
      };
    });
  }

  #window(): Set<number> {
    const last = this.params.repeatLastN;
    const history = [...this.prompt, ...this.#generated];
    return new Set(last === 0 ? [] : last < 0 ? history : history.slice(-last));
  }

  #draw(sorted: readonly Candidate[]): number {
    const { temperature, topK, topP, minP } = this.params;
    let kept = topK > 0 ? sorted.slice(0, topK) : sorted;
    kept = nucleus(kept, topP);
    const floor = minP > 0 ? (kept[0]?.logit ?? 0) + Math.log(minP) : Number.NEGATIVE_INFINITY;
    kept = kept.filter((candidate) => candidate.logit >= floor);
    const weights = probabilities(kept, temperature);
    let left = fraction(mix(this.#seed | 0, this.#generated.length));
    for (const [i, candidate] of kept.entries()) {
      left -= defined(weights[i], 'weight');
      if (left < 0) return candidate.token;
    }
    return best(kept);
  }
}

function best(sorted: readonly Candidate[]): number {
  return defined(sorted[0], 'candidate').token;
}

function probabilities(candidates: readonly Candidate[], temperature: number): number[] {
  const top = candidates[0]?.logit ?? 0;
  const weights = candidates.map(({ logit }) => Math.exp((logit - top) / temperature));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / sum);
}

/** The fewest likeliest candidates whose probabilities reach `topP`; at least one. */
function nucleus(sorted: readonly Candidate[], topP: number): readonly Candidate[] {
  if (topP >= 1) return sorted;
  const weights = probabilities(sorted, 1);
  let sum = 0;
  const end = weights.findIndex((weight) => {
    sum += weight;
    return sum >= topP;
  });
  return end < 0 ? sorted : sorted.slice(0, end + 1);
}
