/**
 * One step: cache operations, decodes, samples and scores.
 *
 * Slices that score a prompt want a row of logits per token, more than one decode gives. So their
 * tokens but the last are computed first, in parts; then everything else in one decode, or in
 * groups where every sequence has a cache of its own (passes.ts), with at most one row per slice.
 * Sampling comes after the last decode: a sampler never advances in a step that is then taken back.
 *
 *   slice A  last  [· · · ·]                    scoring   S S S S S | decode   · · · · A s B
 *   slice B  last  [·]                decodes:  (parts of B scored)            B's last row too
 */
import { assert, defined } from '../../base/assert.ts';
import type {
  PromptScore,
  RawLogprob,
  RequestKey,
  Sample,
  Slice,
  StepPlan,
  StepResult,
} from '../../scheduler/plan.ts';
import type { Decoder } from './decoder.ts';
import { scoreRow } from './logprobs.ts';
import { type DecodeGroup, decodeGroups } from './passes.ts';
import type { RowScan } from './rows.ts';
import type { RequestSampler } from './sampler.ts';

export interface StepParts {
  readonly decoder: Decoder;
  readonly scan: RowScan;
  readonly contextTokens: number;
  /** Cells whose attention takes as long as reading the weights; null with one cache for all. */
  readonly passCells: number | null;
  readonly endOfGeneration: ReadonlySet<number>;
  readonly samplerOf: (request: RequestKey) => RequestSampler;
}

/** Rejects with PlenumError `engine_failed`, after which the context is not to be used. */
export async function computeStep(plan: StepPlan, parts: StepParts): Promise<StepResult> {
  for (const op of plan.ops) parts.decoder.apply(op);
  check(plan, parts);
  const begin = performance.now();
  const scored = new Map<Slice, RawLogprob[]>();
  for (const slice of plan.slices.filter(({ output }) => output === 'all')) {
    const own = await scoreAllButLast(slice, parts);
    if (own === 'no_cells') return takeBack(plan, parts);
    scored.set(slice, own);
  }
  const rows = await decodeRest(plan, parts);
  if (rows === 'no_cells') return takeBack(plan, parts);
  const computeMs = performance.now() - begin;
  return { kind: 'done', computeMs, ...readRows(plan, { rows, scored }, parts) };
}

function check(plan: StepPlan, { decoder, contextTokens }: StepParts): void {
  const seqs = new Set<number>();
  let tokens = 0;
  for (const { seq, start, tokens: own } of plan.slices) {
    assert(own.length > 0, `empty slice of sequence ${seq}`);
    assert(!seqs.has(seq), `two slices of sequence ${seq} in one step`);
    const length = decoder.lengthOf(seq);
    assert(start === length, `slice of ${seq} starts at ${start}; its cells end at ${length}`);
    const end = start + own.length;
    assert(end <= contextTokens, `sequence ${seq} grows to ${end} of ${contextTokens} tokens`);
    seqs.add(seq);
    tokens += own.length;
  }
  const { stepTokensMax } = decoder;
  assert(tokens <= stepTokensMax, `step of ${tokens} tokens; at most ${stepTokensMax}`);
}

function takeBack(plan: StepPlan, { decoder }: StepParts): StepResult {
  decoder.undo(plan.slices);
  return { kind: 'no_cells' };
}

async function scoreAllButLast(
  slice: Slice,
  { decoder, scan, samplerOf }: StepParts,
): Promise<RawLogprob[] | 'no_cells'> {
  const top = samplerOf(slice.request).params.logprobs ?? 0;
  const end = slice.tokens.length - 1;
  const scores: RawLogprob[] = [];
  for (let from = 0; from < end; from += decoder.outputsMax) {
    const to = Math.min(end, from + decoder.outputsMax);
    decoder.clear();
    decoder.add(slice, { from, to }, 'all');
    if ((await decoder.decode()) === 'no_cells') return 'no_cells';
    for (let i = from; i < to; i++) {
      const token = defined(slice.tokens[i + 1], 'token of a slice');
      scores.push(scoreRow(scan, decoder.row(i - from), { token, top }));
    }
  }
  return scores;
}

/** The row of each slice that wants one. Those of all groups but the last are copies. */
async function decodeRest(
  { slices }: StepPlan,
  parts: StepParts,
): Promise<ReadonlyMap<Slice, Float32Array> | 'no_cells'> {
  const { decoder } = parts;
  const rows = new Map<Slice, Float32Array>();
  if (slices.length === 0) return rows;
  const groups = groupsOf(slices, parts);
  for (const group of groups) {
    const bridges = group.bridges.map((seq) => bridgeOf(seq, decoder));
    decoder.clear();
    for (const slice of [...group.slices, ...bridges].sort((a, b) => a.seq - b.seq)) {
      const to = slice.tokens.length;
      const from = slice.output === 'all' ? to - 1 : 0;
      decoder.add(slice, { from, to }, slice.output === 'none' ? 'none' : 'last');
    }
    const decoded = await decoder.decode();
    decoder.undo(bridges);
    if (decoded === 'no_cells') return 'no_cells';
    const wanted = group.slices.filter(({ output }) => output !== 'none');
    for (const [n, slice] of wanted.entries()) {
      const row = decoder.row(n);
      rows.set(slice, group === groups.at(-1) ? row : row.slice());
    }
  }
  return rows;
}

function groupsOf(
  slices: readonly Slice[],
  { decoder, passCells, contextTokens }: StepParts,
): readonly DecodeGroup[] {
  if (passCells === null) return [{ slices, bridges: [] }];
  const bridgedEnd = (seq: number): number | null => {
    const end = decoder.lengthOf(seq) + 1;
    return end > contextTokens ? null : end;
  };
  return decodeGroups(slices, { passCells, rowsMax: decoder.stepTokensMax, bridgedEnd });
}

/** A token behind what the sequence holds; whatever it is, it is taken back. */
function bridgeOf(seq: number, decoder: Decoder): Slice {
  const start = decoder.lengthOf(seq);
  return { request: 0, seq, start, tokens: Int32Array.of(0), output: 'none' };
}

function readRows(
  { slices }: StepPlan,
  {
    rows,
    scored,
  }: {
    readonly rows: ReadonlyMap<Slice, Float32Array>;
    readonly scored: ReadonlyMap<Slice, RawLogprob[]>;
  },
  parts: StepParts,
): { samples: Sample[]; scores: PromptScore[] } {
  const samples: Sample[] = [];
  const scores: PromptScore[] = [];
  for (const slice of slices) {
    if (slice.output === 'none') continue;
    const sampler = parts.samplerOf(slice.request);
    const row = defined(rows.get(slice), 'row of a slice');
    // Inside the prompt the token after the slice is known: it is scored, and nothing is sampled,
    // so that a request's draws do not depend on how its prompt was cut.
    const next = sampler.prompt[slice.start + slice.tokens.length];
    if (slice.output === 'all') {
      const own = scored.get(slice) ?? [];
      if (next !== undefined) {
        const top = sampler.params.logprobs ?? 0;
        own.push(scoreRow(parts.scan, row, { token: next, top }));
      }
      scores.push({ request: slice.request, start: slice.start, scores: own });
    }
    if (slice.output === 'last' || next === undefined) {
      samples.push(sampleRow(slice, { row, sampler }, parts));
    }
  }
  return { samples, scores };
}

function sampleRow(
  { request }: Slice,
  { row, sampler }: { row: Float32Array; sampler: RequestSampler },
  { scan, endOfGeneration }: StepParts,
): Sample {
  const token = sampler.sample(scan, row);
  const { logprobs, ignoreEos, watch } = sampler.params;
  return {
    request,
    token,
    endOfGeneration: !ignoreEos && endOfGeneration.has(token),
    logprob: logprobs === null ? null : scoreRow(scan, row, { token, top: logprobs, watch }),
  };
}
