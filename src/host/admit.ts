/**
 * From a request's text to the scheduler's door: tokenise, check what only the model's vocabulary
 * and context can check, and say no with the numbers.
 */
import { type ErrorRecord, PlenumError } from '../base/errors.ts';
import type { Engine } from '../engine/port.ts';
import type { Admission } from '../scheduler/scheduler.ts';
import type { GenerateRequest, PromptSource } from '../wire/generation.ts';

/** The prompt's tokens. Throws PlenumError `invalid_request`. */
export async function promptTokens(engine: Engine, request: GenerateRequest): Promise<Int32Array> {
  const { prompt, sampling } = request;
  const { vocabSize } = engine.facts;
  const bad = sampling.logitBias.find(([token]) => token >= vocabSize || token < 0);
  if (bad !== undefined) {
    throw new PlenumError(
      'invalid_request',
      `logit_bias names token ${bad[0]}; the model’s tokens are 0 to ${vocabSize - 1}`,
      { param: 'logit_bias' },
    );
  }
  const tokens = await tokenized(engine, prompt);
  if (tokens.length === 0) {
    throw new PlenumError(
      'invalid_request',
      'the prompt has no tokens: there is nothing to go on',
      {
        param: 'prompt',
      },
    );
  }
  if (prompt.kind === 'tokens') checkTokens(tokens, vocabSize, 'prompt');
  return tokens;
}

async function tokenized(engine: Engine, prompt: PromptSource): Promise<Int32Array> {
  switch (prompt.kind) {
    case 'tokens':
      return prompt.tokens;
    case 'text':
      return engine.tokenize(prompt.text, prompt);
    case 'segments': {
      const options = { addSpecial: false, parseSpecial: true };
      const parts: Int32Array[] = [];
      for (const text of prompt.segments) parts.push(await engine.tokenize(text, options));
      return joinTokens(parts);
    }
  }
}

function joinTokens(parts: readonly Int32Array[]): Int32Array {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return only;
  const joined = new Int32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** Throws PlenumError `invalid_request` naming the first token that the model does not have. */
export function checkTokens(tokens: Int32Array, vocabSize: number, param: string): void {
  const foreign = tokens.find((token) => token >= vocabSize || token < 0);
  if (foreign === undefined) return;
  throw new PlenumError(
    'invalid_request',
    `${param} has token ${foreign}; the model’s tokens are 0 to ${vocabSize - 1}`,
    { param },
  );
}

/** The error that a refusal becomes. */
export function refusalOf(
  admission: Exclude<Admission, { kind: 'accepted' }>,
  request: { promptTokens: number; maxTokens: number | null },
): ErrorRecord {
  if (admission.kind === 'too_long') {
    const { contextTokens } = admission;
    const { promptTokens: prompt, maxTokens } = request;
    const output = Math.max(1, maxTokens ?? 1);
    const sum = `${prompt} prompt tokens + ${output} of output = ${prompt + output}`;
    return {
      code: 'context_length_exceeded',
      message: `the model’s context is ${contextTokens} tokens, the request needs ${sum}`,
      param: prompt >= contextTokens ? 'prompt' : 'max_tokens',
      details: { contextTokens, promptTokens: prompt, outputTokens: output },
    };
  }
  const { waiting, predictedWaitMs } = admission;
  return {
    code: 'queue_full',
    message: `${waiting} requests wait already; the predicted wait is ${Math.ceil(predictedWaitMs / 1000)} s`,
    details: { waiting, predictedWaitMs: Math.round(predictedWaitMs) },
    retryAfterMs: Math.max(1000, predictedWaitMs),
  };
}
