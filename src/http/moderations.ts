/** POST /v1/moderations: texts judged by a safety model. */
import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { PlenumError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import type { Verdict } from '../wire/guard.ts';
import {
  type ModerationsRequest,
  type ModerationsResponse,
  moderationsRequestSchema,
  moderationsResponseSchema,
} from '../wire/openai-moderations.ts';
import { type Computing, checkLength, compute } from './computing.ts';
import type { HttpLimits } from './config.ts';
import { modelFor } from './endpoint.ts';
import type { FrontDoor } from './front-door.ts';
import { COMPUTE_ROUTE, errorResponses, jsonResponse } from './openapi.ts';

/** Texts of one request that are judged at the same time. */
const JUDGED_TOGETHER_MAX = 16;

export function moderationsRoutes(app: FastifyInstance, door: FrontDoor): void {
  const { limits } = door.config;
  app.withTypeProvider<ZodTypeProvider>().post(
    '/v1/moderations',
    {
      config: { generation: true },
      schema: {
        summary: 'Whether texts are safe',
        description:
          'Judged by a classifier, or by a model that generates its verdict and is read from the ' +
          'probabilities of the verdict’s words. The categories are the model’s own.',
        tags: ['safety'],
        body: moderationsRequestSchema(limits),
        response: {
          200: jsonResponse('One result per input.', moderationsResponseSchema),
          ...errorResponses([...COMPUTE_ROUTE, 'template_missing', 'template_failed']),
        },
      },
    },
    (request, reply) => {
      const model = modelFor('/v1/moderations', door.backend.models(), request.body.model);
      const deadlineMs = request.body.deadline_ms ?? door.config.limits.deadlineMsDefault;
      return serve({ door, request, reply, model, deadlineMs }, request.body);
    },
  );
}

async function serve(computing: Computing, body: ModerationsRequest): Promise<ModerationsResponse> {
  const { door, request, model } = computing;
  const { limits } = door.config;
  const texts = textsOf(body.input, limits);
  const { verdicts } = await compute(computing, async (signal) => {
    const began = door.clock.now();
    const verdicts = await inGroups(texts, (text) =>
      door.backend.judge({
        requestId: request.id,
        model: model.id,
        subject: { kind: 'input', messages: [{ role: 'user', content: text }] },
        detail: true,
        deadlineMs: computing.deadlineMs,
        signal,
      }),
    );
    const promptTokens = verdicts.reduce((sum, verdict) => sum + verdict.promptTokens, 0);
    return { verdicts, promptTokens, queueMs: 0, computeMs: door.clock.now() - began };
  });
  return {
    id: newId('modr'),
    model: model.id,
    results: verdicts.map((verdict) => resultOf(verdict, model.flagThreshold)),
  };
}

async function inGroups(
  texts: readonly string[],
  judge: (text: string) => Promise<Verdict>,
): Promise<Verdict[]> {
  const verdicts: Verdict[] = [];
  for (let from = 0; from < texts.length; from += JUDGED_TOGETHER_MAX) {
    const group = texts.slice(from, from + JUDGED_TOGETHER_MAX);
    verdicts.push(...(await Promise.all(group.map(judge))));
  }
  return verdicts;
}

function textsOf(input: ModerationsRequest['input'], limits: HttpLimits): readonly string[] {
  if (typeof input === 'string') return [checked(input, 'input', limits)];
  const parts = input.map((item, index) =>
    typeof item === 'string'
      ? checked(item, `input[${index}]`, limits)
      : checked(item.text, `input[${index}].text`, limits),
  );
  const texts = input.filter((item) => typeof item === 'string').length;
  if (texts === input.length) return parts;
  if (texts > 0) {
    const message =
      "'input' mixes texts and text parts; it must be a list of the one or the other.";
    throw new PlenumError('invalid_request', message, { param: 'input' });
  }
  const whole = parts.join('\n');
  checkLength(whole, limits.inputCharsMax, 'input');
  return [whole];
}

function checked(text: string, param: string, limits: HttpLimits): string {
  if (text === '') {
    throw new PlenumError('invalid_request', `'${param}' is an empty text.`, { param });
  }
  checkLength(text, limits.inputCharsMax, param);
  return text;
}

/** Flagged from the threshold on, as a whole or in one category; then the likeliest is named. */
export function resultOf(
  { score, categories }: Verdict,
  threshold: number,
): ModerationsResponse['results'][number] {
  const highest = categories.reduce((max, one) => Math.max(max, one.score), 0);
  const flagged = score >= threshold || highest >= threshold;
  const from = flagged ? Math.min(threshold, highest) : threshold;
  return {
    flagged,
    categories: Object.fromEntries(categories.map((one) => [one.name, one.score >= from])),
    category_scores: Object.fromEntries(categories.map((one) => [one.name, one.score])),
    category_applied_input_types: Object.fromEntries(
      categories.map((one) => [one.name, ['text' as const]]),
    ),
  };
}
