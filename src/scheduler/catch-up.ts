/**
 * The pass that lets sequences catch up (prompts, and tokens of preempted sequences) in the time
 * that the step has left beside those that decode.
 *
 * Order: the oldest first gets half of the time and of the step's tokens, so that no stream of
 * short prompts starves it; then the shortest remaining first, which gives the lowest mean TTFT;
 * what is left goes to the oldest.
 */
import { defined } from '../base/assert.ts';
import { chunkWithin, LARGE_STEP_TOKENS, withSlice } from './budget.ts';
import type { StepDraft } from './draft.ts';
import type { StepTimeModel } from './plan.ts';
import type { Sequence } from './sequence.ts';

export interface CatchUpTerms {
  readonly time: StepTimeModel;
  readonly stepTargetMs: number | null;
  /** Cells for up to `count` tokens of a sequence; how many there are. */
  readonly reserve: (sequence: Sequence, count: number) => number;
  readonly pace: CatchUpPace;
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
/**
 * While nothing decodes a step may take this long: what bounds cancellation and a newcomer's wait.
 */
export const CATCH_UP_STEP_MS_MAX = 500;
/**
 * … or this many times a step of one token, where that is longer: a machine that reads its weights
 * for 400 ms would otherwise read them again for every few tokens of a prompt. 4 leaves at most a
 * quarter of the time to what is read again.
 */
const CATCH_UP_STEP_FACTOR = 4;
/**
 * When the time is too short for a single token of the oldest, a step takes this many all the same.
 */
export const CHUNK_TOKENS_MIN = 16;
/** A small chunk may cost this many times as much per token as a large one. */
const SMALL_CHUNK_EXCESS = 1.5;
/** So that a chunk which was predicted fits into the time that was predicted for it. */
const ROUNDING = 1e-6;
/**
 * Steps of decoding alone between two large ones: 1 of 26 gaps is long, so that a 95th percentile
 * does not fall on one.
 */
const LARGE_STEPS_APART = 25;
/**
 * What a step saves for a large chunk, in decode-only steps: the streams keep 5/11 of the time, and
 * a prompt beside them should take 11/6 of its time alone.
 */
const SAVED_FACTOR = 1.2;
/** What was saved in so many steps is spent, whatever a large chunk is predicted to need. */
export const LARGE_STEPS_APART_MAX = 60;
/** Scored prompt tokens need a row of logits each (vocabulary × 4 bytes). */
const SCORED_CHUNK_TOKENS_MAX = 64;

export function planCatchUp(
  draft: StepDraft,
  running: readonly Sequence[],
  terms: CatchUpTerms,
): void {
  const behind = running.filter((s) => !s.decoding && s.seq !== null && s.ending === null);
  const oldest = behind[0];
  const streams = draft.shape.sequences;
  if (streams === 0) terms.pace.reset();
  const decodeMs = draft.isEmpty ? 0 : terms.time.predictMs(draft.shape);
  if (oldest === undefined) {
    if (streams > 0) terms.pace.rest(SAVED_FACTOR * decodeMs);
    return;
  }
  const autoMs = autoTargetMs({ decodeMs, streams, behind: behind.length });
  const aloneMs = draft.isEmpty ? catchUpStepMs(draft, oldest, terms.time) : 0;
  let budgetMs = draft.isEmpty ? aloneMs : (terms.stepTargetMs ?? autoMs);
  const hasTarget = terms.stepTargetMs !== null;
  if (streams > 0 && !hasTarget && autoMs > AUTO_STEP_FACTOR * decodeMs) {
    growByPieces(draft, behind, { ...terms, decodeMs, budgetMs });
    return;
  }
  const isLarge = paysToBeLarge(draft, oldest, { decodeMs, budgetMs, time: terms.time });
  if (isLarge && streams > 0 && !hasTarget) {
    const others = behind.slice(1);
    const savedMax = Math.max(budgetMs - decodeMs, SAVED_FACTOR * decodeMs);
    const shareMs = savedMax / (others.length > 0 ? 2 : 1);
    const savedMs = terms.pace.save(shareMs, largeChunkMs(draft, oldest, terms.time));
    if (savedMs === null) {
      // The others need not wait until the oldest has saved enough.
      if (others.length > 0)
        grow(draft, others, { ...terms, decodeMs, budgetMs: decodeMs + shareMs, least: 1 });
      return;
    }
    budgetMs = decodeMs + savedMs;
  }
  const least = isLarge && streams === 0 ? LARGE_STEP_TOKENS : CHUNK_TOKENS_MIN;
  grow(draft, behind, { ...terms, decodeMs, budgetMs, least });
}

/**
 * Where prompts are the many, they come one at a time and in pieces as large as half a second
 * computes, whole if they can: a piece is a pass over the weights of its own where each sequence
 * has its cache for itself, and all wait for the throughput. The oldest and the one with the least
 * left take turns. Between two pieces the streams have what the sharing by heads leaves them. Short
 * ones come together where the step's time is enough for them.
 */
function growByPieces(
  draft: StepDraft,
  behind: readonly Sequence[],
  terms: CatchUpTerms & { decodeMs: number; budgetMs: number },
): void {
  const { decodeMs, budgetMs, time, pace } = terms;
  let shareMs = budgetMs - decodeMs;
  for (let waiting = behind; waiting.length > 0; ) {
    const shortest = waiting.reduce((a, b) => (b.remaining < a.remaining ? b : a));
    const s = pace.isOldestsTurn ? defined(waiting[0], 'the oldest that is behind') : shortest;
    const before = time.predictMs(draft.shape);
    const { count, ms } = pieceOf(draft, s, { time, decodeMs });
    // Beside the first there are further ones only within the step's own time.
    if (count === 0 || (waiting !== behind && ms > budgetMs)) return;
    if (!pace.pay(shareMs, ms - before)) return;
    addReserved(draft, s, { count, terms });
    shareMs = 0;
    waiting = waiting.filter((one) => one !== s);
  }
}

/** Tokens of the next piece of a prompt, and the time of the step with it. */
function pieceOf(
  { shape, room }: StepDraft,
  s: Sequence,
  { time, decodeMs }: { readonly time: StepTimeModel; readonly decodeMs: number },
): { readonly count: number; readonly ms: number } {
  const most = { shape, start: s.computed, remaining: sliceMax(s), room };
  const fits = chunkWithin(time, { ...most, budgetMs: decodeMs + CATCH_UP_STEP_MS_MAX });
  const least = Math.max(CHUNK_TOKENS_MIN, LARGE_STEP_TOKENS - shape.tokens);
  const count = Math.min(Math.max(fits, least), most.remaining, room);
  const slice = { start: s.computed, length: count, outputs: 1 };
  return { count, ms: time.predictMs(withSlice(shape, slice)) };
}

function catchUpStepMs(draft: StepDraft, oldest: Sequence, time: StepTimeModel): number {
  const one = withSlice(draft.shape, { start: oldest.computed, length: 1, outputs: 0 });
  const floorMs = CATCH_UP_STEP_FACTOR * time.predictMs(one);
  return Number.isFinite(floorMs) ? Math.max(CATCH_UP_STEP_MS_MAX, floorMs) : CATCH_UP_STEP_MS_MAX;
}

/** The oldest within half of what there is, then the shortest first, then the oldest again. */
function grow(
  draft: StepDraft,
  behind: readonly Sequence[],
  terms: CatchUpTerms & { decodeMs: number; budgetMs: number; least: number },
): void {
  const { decodeMs, budgetMs, least } = terms;
  const oldest = defined(behind[0], 'the oldest that is behind');
  const whole = { budgetMs, room: draft.room };
  const half = {
    budgetMs: decodeMs + (budgetMs - decodeMs) / 2,
    room: Math.ceil(draft.room / 2),
  };
  const chunk = (s: Sequence, limit: Limit): void => addChunk(draft, s, { ...limit, terms });
  if (behind.length > 1) chunk(oldest, half);
  if (!draft.has(oldest)) chunk(oldest, whole);
  if (!draft.has(oldest)) addReserved(draft, oldest, { count: least, terms });
  const rest = behind.slice(1).sort((a, b) => a.remaining - b.remaining || a.key - b.key);
  for (const s of rest) chunk(s, whole);
  chunk(oldest, whole);
}

/** What a step with a large chunk of `s` would take beyond what the draft takes. */
function largeChunkMs(draft: StepDraft, s: Sequence, time: StepTimeModel): number {
  const length = Math.max(1, LARGE_STEP_TOKENS - draft.shape.tokens);
  const large = withSlice(draft.shape, { start: s.computed, length, outputs: 0 });
  return time.predictMs(large) - (draft.isEmpty ? 0 : time.predictMs(draft.shape));
}

/**
 * The step's time has no room for a large chunk of `s`, and the small one that it has room for
 * would cost much more per token: better a large one now and then. So does a handful of tokens
 * whatever is predicted, for products of a few rows use none of what makes those of many cheap: of
 * a prompt of 4,000 a token took about 56 ms in pieces of 3 and 17 ms alone (135M, AVX2; means of
 * bench/interference.ts).
 */
function paysToBeLarge(
  draft: StepDraft,
  s: Sequence,
  { decodeMs, budgetMs, time }: { decodeMs: number; budgetMs: number; time: StepTimeModel },
): boolean {
  const length = Math.max(1, LARGE_STEP_TOKENS - draft.shape.tokens);
  if (sliceMax(s) < length || draft.room < length) return false;
  const largeMs = largeChunkMs(draft, s, time);
  if (decodeMs + largeMs <= budgetMs) return false;
  const question = { shape: draft.shape, start: s.computed, remaining: length - 1, budgetMs };
  const small = Math.max(1, chunkWithin(time, { ...question, room: draft.room }));
  if (small < CHUNK_TOKENS_MIN) return true;
  const shape = withSlice(draft.shape, { start: s.computed, length: small, outputs: 0 });
  const smallMs = time.predictMs(shape) - decodeMs;
  return smallMs / small > SMALL_CHUNK_EXCESS * (largeMs / length);
}

/**
 * Saves a step's share of time for prompts until it is worth a large chunk. Large ones are so far
 * apart that of twenty gaps between a stream's tokens at most one is long. Steps without a prompt
 * save as well, so that the first chunk of a prompt which comes rarely enough need not wait; more
 * than one chunk is not saved.
 */
export class CatchUpPace {
  #savedMs = 0;
  #steps = 0;
  #pieces = 0;

  reset(): void {
    this.#savedMs = 0;
    this.#steps = 0;
  }

  /** A step in which nobody has to catch up. */
  rest(shareMs: number): void {
    if (this.#steps >= LARGE_STEPS_APART) return;
    this.#savedMs += shareMs;
    this.#steps += 1;
  }

  /** Whose piece is the next, where pieces are paid for. */
  get isOldestsTurn(): boolean {
    return this.#pieces % 2 === 0;
  }

  /**
   * Adds a step's share, of which no more than one is left when the piece is paid for; true when it
   * is, or was long waited for. Further pieces of the step come without a share.
   */
  pay(shareMs: number, pieceMs: number): boolean {
    this.#savedMs += shareMs;
    if (shareMs > 0) {
      this.#savedMs = Math.min(this.#savedMs, pieceMs + shareMs);
      this.#steps += 1;
    }
    if (this.#savedMs < pieceMs && this.#steps <= LARGE_STEPS_APART_MAX) return false;
    this.#savedMs = Math.max(0, this.#savedMs - pieceMs);
    this.#steps = 0;
    this.#pieces += 1;
    return true;
  }

  /** Adds a share; what may be spent now, or null while there is more to save. */
  save(shareMs: number, neededMs: number): number | null {
    this.#savedMs += shareMs;
    this.#steps += 1;
    const isEnough = this.#savedMs >= neededMs || this.#steps > LARGE_STEPS_APART_MAX;
    if (this.#steps <= LARGE_STEPS_APART || !isEnough) return null;
    const savedMs = this.#savedMs;
    this.reset();
    return savedMs * (1 + ROUNDING);
  }
}

/**
 * The step's time when none is configured. The streams keep more than half of it while they are the
 * many; when more prompts wait than streams run, time is shared by heads: a burst of prompts is not
 * held up by the first of them that answers, and decoding is cheapest when all of them have
 * arrived.
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
