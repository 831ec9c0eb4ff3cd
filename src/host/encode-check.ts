/**
 * What a host that encodes asks of a request before it is queued: a task that the model has, inputs
 * that suit it, tokens that it knows, and lengths that fit. It says no with the numbers.
 */
import { PlenumError } from '../base/errors.ts';
import type { EncoderEngineFacts } from '../engine/encoder.ts';
import type { EncodeInput, EncodeRequest, EncodeTask } from '../wire/encode.ts';
import { checkTokens } from './admit.ts';

const TASK_WORDS: Readonly<Record<EncodeTask, string>> = {
  embed: 'embeddings: use /v1/embeddings',
  rank: 'the relevance of documents: use /v1/rerank',
  classify: 'classes: use /v1/moderations',
};

/** Before anything is tokenised. Throws PlenumError `wrong_endpoint` or `invalid_request`. */
export function checkRequest(facts: EncoderEngineFacts, { task, inputs }: EncodeRequest): void {
  if (!facts.tasks.includes(task)) {
    const served = facts.tasks.map((own) => TASK_WORDS[own]).join('; or ');
    throw new PlenumError('wrong_endpoint', `this model gives ${served}`, { param: 'model' });
  }
  if (inputs.length === 0) throw invalid('there is no input: at least one is needed', task);
  for (const [i, input] of inputs.entries()) checkInput(facts, { task, input, i });
}

interface Numbered {
  readonly task: EncodeTask;
  readonly input: EncodeInput;
  readonly i: number;
}

function checkInput(facts: EncoderEngineFacts, { task, input, i }: Numbered): void {
  switch (input.kind) {
    case 'tokens':
      if (input.tokens.length === 0) throw invalid(`input ${i} has no tokens`, task, i);
      checkTokens(input.tokens, facts.vocabSize, paramOf(task, i));
      return;
    case 'text':
      if (task === 'rank') throw invalid(`input ${i} has no query to rank it by`, task, i);
      if (input.text === '') throw invalid(`input ${i} is empty`, task, i);
      return;
    case 'pair':
      if (task === 'embed') throw invalid(`input ${i} is a pair; embeddings are of texts`, task, i);
      if (input.query === '') throw invalid('the query is empty', task, i);
  }
}

/** Throws PlenumError `context_length_exceeded` or `invalid_request` for the i-th input. */
export function checkLength(
  facts: EncoderEngineFacts,
  { tokens, task, i }: { tokens: Int32Array; task: EncodeTask; i: number },
): void {
  const { length } = tokens;
  if (length === 0) throw invalid(`input ${i} has no tokens`, task, i);
  if (length <= facts.contextTokens) return;
  const what = task === 'rank' ? `the query with document ${i}` : `input ${i}`;
  throw new PlenumError(
    'context_length_exceeded',
    `${what} is ${length} tokens long; the model takes ${facts.contextTokens} at most ` +
      `(${length - facts.contextTokens} fewer are needed)`,
    {
      param: paramOf(task, i),
      details: { contextTokens: facts.contextTokens, promptTokens: length, input: i },
    },
  );
}

const paramOf = (task: EncodeTask, i: number): string =>
  task === 'rank' ? `documents[${i}]` : `input[${i}]`;

function invalid(message: string, task: EncodeTask, i?: number): PlenumError {
  const whole = task === 'rank' ? 'documents' : 'input';
  return new PlenumError('invalid_request', message, {
    param: i === undefined ? whole : paramOf(task, i),
  });
}
