/**
 * The pass that lets sequences catch up (prompts, and tokens of preempted sequences) in the time
 * that the step has left beside those that decode.
 *
 * Order: the oldest first gets half of the time and of the step's tokens, so that no stream of short
 * prompts starves it; then the shortest remaining first, which gives the lowest mean TTFT; what is
 * left goes to the oldest.
 */
import { chunkWithin } from './budget.ts';
import type { StepDraft } from './draft.ts';
import type { StepTimeModel } from './plan.ts';
import type { Sequence } from './sequence.ts';

export interface CatchUpTerms {
  readonly time: StepTimeModel;
  readonly stepTargetMs: number | null;
  /** Cells for up to `count` tokens of a sequence; how many there are. */
  readonly reserve: (sequence: Sequence, count: number) => number;
}

/**
 * Without a step target, a step may take this many times the decode-only step: the inter-token
 * latency of running streams at most doubles, with a margin for the prediction's error (see
 * autoTargetMs for when prompts are the many).
 */
export const AUTO_STEP_FACTOR = 1.8;
/**
 * A waiting prompt counts as so many streams when time is shared by heads. 3 is the most at which
 * one prompt beside four streams still leaves them within AUTO_STEP_FACTOR.
 */
const PROMPT_WEIGHT = 3;
/** While nothing decodes a step may take this long: what bounds cancellation and a newcomer's wait. */
export const CATCH_UP_STEP_MS_MAX = 500;
/** When the time is too short for a single token of the oldest, a step takes this many all the same. */
export const CHUNK_TOKENS_MIN = 16;
/** Scored prompt tokens need a row of logits each (vocabulary × 4 bytes). */
const SCORED_CHUNK_TOKENS_MAX = 64;

export function planCatchUp(
  draft: StepDraft,
  running: readonly Sequence[],
  terms: CatchUpTerms,
): void {
  const behind = running.filter((s) => !s.decoding && s.seq !== null && s.ending === null);
  const oldest = behind[0];
  if (oldest === undefined) return;
  const decodeMs = draft.isEmpty ? 0 : terms.time.predictMs(draft.shape);
  const streams = draft.shape.sequences;
  const autoMs = autoTargetMs({ decodeMs, streams, behind: behind.length });
  const budgetMs = draft.isEmpty ? CATCH_UP_STEP_MS_MAX : (terms.stepTargetMs ?? autoMs);
  const whole = { budgetMs, room: draft.room };
  const half = {
    budgetMs: decodeMs + (budgetMs - decodeMs) / 2,
    room: Math.ceil(draft.room / 2),
  };
  const grow = (s: Sequence, limit: Limit): void => addChunk(draft, s, { ...limit, terms });
  if (behind.length > 1) grow(oldest, half);
  if (!draft.has(oldest)) grow(oldest, whole);
  if (!draft.has(oldest)) addReserved(draft, oldest, { count: CHUNK_TOKENS_MIN, terms });
  const rest = behind.slice(1).sort((a, b) => a.remaining - b.remaining || a.key - b.key);
  for (const s of rest) grow(s, whole);
  grow(oldest, whole);
}

/**
 * The step's time when none is configured. The streams keep more than half of it while they are the
 * many; when more prompts wait than streams run, time is shared by heads: a burst of prompts is not
 * held up by the first of them that answers, and decoding is cheapest when all of them have arrived.
 */
export function autoTargetMs(load: {
  readonly decodeMs: number;
  readonly streams: number;
  readonly behind: number;
}): number {
  const { decodeMs, streams, behind } = load;
  const floorMs = AUTO_STEP_FACTOR * decodeMs;
  const sharedMs = decodeMs * (1 + (PROMPT_WEIGHT * behind) / Math.max(1, streams));
  return Math.max(floorMs, Math.min(sharedMs, CATCH_UP_STEP_MS_MAX));
}

/** What a chunk may take: the step's time with it, and tokens. */
interface Limit {
  readonly budgetMs: number;
  readonly room: number;
}

function addChunk(
  draft: StepDraft,
  s: Sequence,
  { budgetMs, room, terms }: Limit & { readonly terms: CatchUpTerms },
): void {
  if (s.seq === null || s.ending !== null) return;
  const taken = draft.lengthOf(s);
  const chunk = chunkWithin(terms.time, {
    shape: draft.shape,
    start: s.computed + taken,
    remaining: sliceMax(s) - taken,
    room: Math.min(room, draft.room),
    budgetMs,
  });
  addReserved(draft, s, { count: chunk, terms });
}

/** Adds up to `count` tokens, as many as there are cells for. */
function addReserved(
  draft: StepDraft,
  s: Sequence,
  wanted: { readonly count: number; readonly terms: CatchUpTerms },
): void {
  const count = Math.min(wanted.count, sliceMax(s) - draft.lengthOf(s), draft.room);
  const granted = count > 0 ? wanted.terms.reserve(s, count) : 0;
  if (granted > 0) draft.add(s, granted);
}

/** Most tokens of its next slice. What was scored before is not in one slice with what was not. */
function sliceMax(s: Sequence): number {
  if (!s.scorePrompt) return s.remaining;
  if (s.computed < s.reached) return s.reached - s.computed;
  return Math.min(s.remaining, SCORED_CHUNK_TOKENS_MAX);
}
