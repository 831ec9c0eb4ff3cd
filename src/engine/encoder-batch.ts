/** What a batch of an encoder must be; asked by both implementations before they compute. */
import { assert } from '../base/assert.ts';
import type { EncodeTask } from '../wire/encode.ts';
import type { EncoderEngineFacts } from './encoder.ts';

/** Asserts that the encoder's facts allow the batch: a host makes no other. */
export function checkBatch(
  facts: EncoderEngineFacts,
  task: EncodeTask,
  batch: readonly Int32Array[],
): void {
  const { contextTokens, batchTokensMax, batchInputsMax, vocabSize } = facts;
  assert(facts.tasks.includes(task), `task ${task} of a model for ${facts.tasks.join(', ')}`);
  assert(batch.length > 0 && batch.length <= batchInputsMax, `batch of ${batch.length} inputs`);
  let sum = 0;
  for (const tokens of batch) {
    const { length } = tokens;
    assert(length > 0 && length <= contextTokens, `input of ${length} tokens`);
    const foreign = tokens.find((token) => token < 0 || token >= vocabSize);
    assert(foreign === undefined, `token ${foreign} of ${vocabSize}`);
    sum += length;
  }
  const fits = sum <= batchTokensMax || batch.length === 1;
  assert(fits, `batch of ${sum} tokens, ${batchTokensMax} allowed`);
}
