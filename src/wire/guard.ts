/**
 * Safety models: what they say of a text, and what a server does with it when one of them stands in
 * the path of another model.
 */
import { z } from 'zod';

/** One guard in the path of a model's requests. */
export interface GuardPolicy {
  /** Id or alias of the served model that judges. */
  readonly model: string;
  readonly input: boolean;
  readonly output: boolean;
  /** `block` holds text until it is judged; `annotate` only says what the guard thinks. */
  readonly action: 'block' | 'annotate';
  /** A score from here on counts as unsafe. */
  readonly threshold: number;
  /** Generated tokens between two judgements; what is held back is about twice as much. */
  readonly windowTokens: number;
  /** A judgement that takes longer counts as none. */
  readonly timeoutMs: number;
}

export type GuardStage = 'input' | 'output';

/** What a guard says of one text. */
export interface Verdict {
  /** Probability that it is unsafe, 0 … 1. */
  readonly score: number;
  /** By what the model tells apart, in its order; at least one. */
  readonly categories: readonly CategoryScore[];
  /** Tokens that the guard computed or took from its cache. */
  readonly promptTokens: number;
}

export interface CategoryScore {
  readonly name: string;
  readonly score: number;
}

const stageNoteSchema = z
  .strictObject({
    flagged: z.boolean(),
    score: z.number(),
    categories: z.record(z.string(), z.number()),
  })
  .nullable();
/** null = this stage was not judged. */
export type StageNote = z.infer<typeof stageNoteSchema>;

export const moderationNoteSchema = z
  .strictObject({
    model: z.string(),
    flagged: z.boolean(),
    input: stageNoteSchema,
    output: stageNoteSchema,
  })
  .nullable()
  .meta({
    description:
      'Beyond OpenAI, only with a guard in the path: what it said. null: it could not judge.',
  });
export type ModerationNote = z.infer<typeof moderationNoteSchema>;
