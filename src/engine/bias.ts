/** The one check of a request that needs the vocabulary, the same on every engine. */
import { PlenumError } from '../base/errors.ts';

/** Throws PlenumError `invalid_request` when a bias names a token that the model does not have. */
export function checkBias(
  logitBias: readonly (readonly [token: number, bias: number])[],
  vocabSize: number,
): void {
  const wrong = logitBias.find(
    ([token]) => !(Number.isInteger(token) && token >= 0 && token < vocabSize),
  );
  if (wrong === undefined) return;
  throw new PlenumError(
    'invalid_request',
    `logit_bias names token ${wrong[0]}; the model has tokens 0 to ${vocabSize - 1}`,
    { param: 'logit_bias' },
  );
}
