/**
 * A Backend for tests: scripted generations, no model and no process. What it is asked is kept, so
 * that a test can see what reached it; a generation can be driven by hand or by a script.
 */
import { PlenumError } from '../base/errors.ts';
import type { EncodeReply, EncoderFacts } from '../wire/encode.ts';
import type { GenerateEvent, TokenLogprob, Usage } from '../wire/generation.ts';
import type { Verdict } from '../wire/guard.ts';
import { type ModelInfo, NO_PREFIXES } from '../wire/model-info.ts';
import type { FinishReason, Outcome } from '../wire/outcome.ts';
import type { LoadReport } from '../wire/report.ts';
import type {
  Backend,
  ClientEncodeRequest,
  ClientRequest,
  Generation,
  HostStatus,
  JudgeRequest,
} from './backend.ts';
import { FixturePool } from './fixture-pool.ts';

type EndEvent = Extract<GenerateEvent, { kind: 'end' }>;

export class FixtureGeneration implements Generation {
  readonly request: ClientRequest;
  readonly cancels: string[] = [];
  #events: GenerateEvent[] = [];
  #wake: (() => void) | null = null;
  #ended = false;

  constructor(request: ClientRequest) {
    this.request = request;
  }

  /** Events after the end are dropped, as a host's are. */
  push(...events: readonly GenerateEvent[]): void {
    for (const event of events) {
      if (this.#ended) return;
      this.#ended = event.kind === 'end';
      this.#events.push(event);
    }
    this.#wake?.();
  }

  cancel(code: 'client_closed' | 'slow_reader'): void {
    this.cancels.push(code);
    this.push(endEvent({ kind: 'cancelled', code }));
  }

  get ended(): boolean {
    return this.#ended;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<GenerateEvent> {
    for (;;) {
      const events = this.#events;
      this.#events = [];
      for (const event of events) {
        yield event;
        if (event.kind === 'end') return;
      }
      if (this.#events.length === 0) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}

export interface FixtureOptions {
  readonly models?: readonly ModelInfo[];
  /** Called for each generation; the default answers `Hello world` in two deltas. */
  readonly script?: (generation: FixtureGeneration) => void;
}

export class FixtureBackend implements Backend {
  readonly generations: FixtureGeneration[] = [];
  readonly tokenizeCalls: unknown[] = [];
  readonly encodes: ClientEncodeRequest[] = [];
  readonly judgements: JudgeRequest[] = [];
  /** How `encode` answers; the default gives rows that depend on the length of each input. */
  encoding: (request: ClientEncodeRequest) => Promise<EncodeReply> = fixtureEncode;
  /** How `judge` answers; by default a text with the word `bad` in it is unsafe. */
  judging: (request: JudgeRequest) => Promise<Verdict> = fixtureJudge;
  readonly modelList: ModelInfo[];
  readonly pool: FixturePool;
  draining = false;
  report: LoadReport | null = fixtureReport();
  script: (generation: FixtureGeneration) => void;

  constructor(options: FixtureOptions = {}) {
    this.modelList = [...(options.models ?? [fixtureModel('org/tiny:Q4', ['tiny'])])];
    this.pool = new FixturePool(this.modelList[0]?.id ?? 'none');
    this.script = options.script ?? ((generation) => generation.push(...helloWorld()));
  }

  models(): readonly ModelInfo[] {
    return this.modelList;
  }

  status(): readonly HostStatus[] {
    return this.modelList.map((model) => ({
      model,
      report: model.state === 'ready' ? this.report : null,
      restarts: 0,
      pid: 1,
      device: 'fixture',
      loadFraction: model.state === 'starting' ? 0.5 : null,
    }));
  }

  generate(request: ClientRequest): Generation {
    const model = this.modelList.find((one) => one.id === request.model);
    if (model?.state !== 'ready') {
      throw new PlenumError('model_loading', 'The model is being loaded.', { retryAfterMs: 2500 });
    }
    const generation = new FixtureGeneration(request);
    this.generations.push(generation);
    this.script(generation);
    return generation;
  }

  encode(request: ClientEncodeRequest): Promise<EncodeReply> {
    this.encodes.push(request);
    return this.encoding(request);
  }

  judge(request: JudgeRequest): Promise<Verdict> {
    this.judgements.push(request);
    return this.judging(request);
  }

  /** One token per character, by its code. */
  tokenize(_model: string, input: Parameters<Backend['tokenize']>[1]) {
    this.tokenizeCalls.push(input);
    const { prompt, withPieces } = input;
    const text =
      prompt.kind === 'text'
        ? prompt.text
        : prompt.kind === 'chat'
          ? prompt.messages.map((message) => `<${message.role}>${message.content}`).join('')
          : '';
    const bytes = Buffer.from(text);
    return Promise.resolve({
      tokens: Int32Array.from(bytes),
      pieces: withPieces ? [...bytes].map((byte) => ({ id: byte, bytes: [byte] })) : null,
      contextTokens: 2048,
    });
  }

  detokenize(_model: string, tokens: Int32Array): Promise<string> {
    return Promise.resolve(Buffer.from(tokens).toString('utf8'));
  }
}

export function fixtureModel(id: string, aliases: readonly string[] = []): ModelInfo {
  return {
    id,
    aliases,
    created: 1_700_000_000,
    description: 'fixture',
    class: 'chat',
    encoder: null,
    inputPrefixes: NO_PREFIXES,
    samplingDefaults: {},
    guard: null,
    flagThreshold: 0.5,
    contextTokens: 2048,
    parallel: 4,
    synthetic: true,
    hasChatTemplate: true,
    state: 'ready',
    reason: null,
  };
}

/** A model of each class: `tiny`, `embedder`, `ranker`, `guard`. */
export function fixtureFamily(): ModelInfo[] {
  return [
    fixtureModel('tiny'),
    { ...fixtureModel('embedder'), class: 'embed', encoder: encoderFacts('embed') },
    { ...fixtureModel('ranker'), class: 'rerank', encoder: encoderFacts('rank') },
    { ...fixtureModel('guard'), class: 'guard' },
  ];
}

export function encoderFacts(task: EncoderFacts['tasks'][number]): EncoderFacts {
  return {
    tasks: [task],
    dimensions: 8,
    pooling: task === 'rank' ? 'rank' : 'mean',
    labels: [],
    matryoshkaDimensions: task === 'embed' ? [4] : [],
  };
}

const FIXTURE_WIDTH = 8;

/** Embeddings: the input's length, then 1, 2, … Ranks: how much longer the document is. */
function fixtureEncode({ task, inputs }: ClientEncodeRequest): Promise<EncodeReply> {
  const width = task === 'rank' ? 1 : FIXTURE_WIDTH;
  const rows = inputs.map((input) => {
    if (input.kind === 'pair') return [input.document.length - input.query.length];
    const { length } = input.kind === 'text' ? input.text : input.tokens;
    return Array.from({ length: width }, (_, i) => (i === 0 ? length : i));
  });
  return Promise.resolve({
    values: Float32Array.from(rows.flat()),
    width,
    tokenCounts: inputs.map(() => 3),
    queueMs: 1,
    computeMs: 2,
  });
}

function fixtureJudge({ subject }: JudgeRequest): Promise<Verdict> {
  const text =
    subject.kind === 'output'
      ? subject.answer
      : subject.messages.map((message) => message.content).join('\n');
  return Promise.resolve(fixtureVerdict(text.includes('bad') ? 0.9 : 0.1));
}

export function fixtureVerdict(score: number): Verdict {
  const categories = [
    { name: 'violence', score },
    { name: 'hate', score: score / 4 },
  ];
  return { score, categories, promptTokens: 5 };
}

export const accepted = (promptTokens = 7): GenerateEvent => ({
  kind: 'accepted',
  promptTokens,
  predictedWaitMs: 0,
});

export const started = (cachedTokens = 3): GenerateEvent => ({
  kind: 'started',
  cachedTokens,
  queueMs: 1.5,
});

export function delta(text: string, logprobs: readonly TokenLogprob[] = []): GenerateEvent {
  return { kind: 'delta', text, tokens: Math.max(1, logprobs.length), logprobs };
}

export function finished(reason: FinishReason = 'stop', usage: Partial<Usage> = {}): EndEvent {
  return endEvent({ kind: 'finished', reason }, usage);
}

export function endEvent(outcome: Outcome, usage: Partial<Usage> = {}): EndEvent {
  return {
    kind: 'end',
    outcome,
    error: null,
    usage: { promptTokens: 7, cachedTokens: 3, completionTokens: 2, ...usage },
    timings: { queueMs: 1.5, prefillMs: 20, decodeMs: 30 },
    stopString: null,
  };
}

/** An end that a host gives with its own words. */
export function refusal(code: 'queue_full' | 'host_crashed', retryAfterMs?: number): EndEvent {
  return {
    ...endEvent(code === 'queue_full' ? { kind: 'refused', code } : { kind: 'failed', code }, {
      promptTokens: 0,
      cachedTokens: 0,
      completionTokens: 0,
    }),
    error: { code, message: `fixture: ${code}`, retryAfterMs },
  };
}

export function helloWorld(): GenerateEvent[] {
  return [accepted(), started(), delta('Hello'), delta(' world'), finished()];
}

export function tokenLogprob(token: string, logprob: number, top: number): TokenLogprob {
  const bytes = [...Buffer.from(token)];
  return {
    token,
    tokenId: bytes[0] ?? 0,
    bytes,
    logprob,
    top: Array.from({ length: top }, (_, i) => ({
      token: `${token}${i}`,
      tokenId: i,
      bytes: [...bytes, 48 + i],
      logprob: logprob - i,
    })),
  };
}

export function fixtureReport(): LoadReport {
  return {
    waiting: 1,
    running: 2,
    runningMax: 4,
    queueMax: 16,
    predictedWaitMs: 250,
    cells: { total: 100, free: 50, cached: 30, held: 20 },
    steps: {
      count: 10,
      predictedMsSum: 900,
      measuredMsSum: 1000,
      ratio: 1.1,
      overheadMsSum: 5,
    },
    tokens: { promptCached: 3, promptComputed: 4, generated: 5 },
    preemptions: 0,
    memory: { rssBytes: 123_456_789 },
  };
}
