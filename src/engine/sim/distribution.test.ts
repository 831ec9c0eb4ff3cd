/** Scores of the simulated distribution: the likeliest, and the watched ones at any rank. */
import { expect, test } from 'vitest';
import { FLOOR_LOGIT, logSumExp, scoreOf } from './distribution.ts';

test('watched tokens follow the likeliest, each once, with their own probability', () => {
  const candidates = [
    { token: 5, logit: 8 },
    { token: 7, logit: 6 },
  ];
  const norm = logSumExp(candidates, 100);
  const { top } = scoreOf(5, candidates, { top: 1, vocabSize: 100, watch: [7, 5, 9] });
  expect(top).toEqual([
    { token: 5, logprob: 8 - norm },
    { token: 7, logprob: 6 - norm },
    { token: 9, logprob: FLOOR_LOGIT - norm },
  ]);
});
