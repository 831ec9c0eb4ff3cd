/**
 * A generation with a guard in its path: asks the guard, times its judgements, and gives on what
 * guard-window.ts lets through. To whoever reads it, it is a generation like any other.
 */
import type { Clock } from '../base/clock.ts';
import { type ErrorRecord, PlenumError, toErrorRecord, toPlenumError } from '../base/errors.ts';
import { formatMillis } from '../base/units.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { GenerateEvent } from '../wire/generation.ts';
import type { GuardPolicy, GuardStage, Verdict } from '../wire/guard.ts';
import type { ModelInfo } from '../wire/model-info.ts';
import type {
  Backend,
  ChatMessage,
  ClientPrompt,
  ClientRequest,
  Generation,
  JudgeSubject,
} from './backend.ts';
import type { ApiKey } from './config.ts';
import { modelFor } from './endpoint.ts';
import { GuardWindow, type Judged, type WindowAction } from './guard-window.ts';
import { untilAborted } from './until.ts';

/**
 * Throws PlenumError `config_invalid` for a guard that is no served model for moderation: found at
 * start, not at the first request.
 */
export function assertGuards(models: readonly ModelInfo[], keys: readonly ApiKey[]): void {
  const policies = [
    ...models.map(({ id, guard }) => ({ of: `model "${id}"`, guard })),
    ...keys.map(({ name, guard }) => ({ of: `API key "${name}"`, guard: guard ?? null })),
  ];
  for (const { of, guard } of policies) {
    if (guard === null || guard === 'off') continue;
    try {
      modelFor('/v1/moderations', models, guard.model);
    } catch (error) {
      const message = `The guard of the ${of} cannot judge: ${toPlenumError(error).message}`;
      throw new PlenumError('config_invalid', message, { cause: error });
    }
  }
}

/** What may be held for a guard that is slow, in windows; at least that many tokens. */
const HELD_WINDOWS_MAX = 16;
const HELD_TOKENS_MAX_LEAST = 4096;

export interface GuardOptions {
  readonly backend: Backend;
  readonly policy: GuardPolicy;
  /** Id of the model that is guarded, for metrics. */
  readonly model: string;
  readonly metrics: Metrics;
  readonly clock: Clock;
}

/** Hands out guarded generations of one request; choices of one prompt share its verdict. */
export class GuardedGenerations {
  readonly #options: GuardOptions;
  readonly #inputs = new Map<ClientPrompt, Promise<Judged>>();
  readonly #aborter = new AbortController();

  constructor(options: GuardOptions) {
    this.#options = options;
  }

  /** Prompt and judgement begin at the same time. Throws what `Backend.generate` throws. */
  generate(request: ClientRequest): Generation {
    const { backend } = this.#options;
    const inner = backend.generate(request);
    const judge = (stage: GuardStage, subject: () => Promise<JudgeSubject>): Promise<Judged> =>
      stage === 'output'
        ? this.#judge(request, stage, subject)
        : this.#inputOnce(request.prompt, () => this.#judge(request, stage, subject));
    return new GuardedGeneration({ ...this.#options, request, inner, judge });
  }

  /** Ends the judgements that are under way. */
  close(): void {
    this.#aborter.abort();
  }

  #inputOnce(prompt: ClientPrompt, judge: () => Promise<Judged>): Promise<Judged> {
    const judged = this.#inputs.get(prompt) ?? judge();
    this.#inputs.set(prompt, judged);
    return judged;
  }

  async #judge(
    { requestId }: ClientRequest,
    stage: GuardStage,
    subject: () => Promise<JudgeSubject>,
  ): Promise<Judged> {
    const { backend, policy } = this.#options;
    const timeout = AbortSignal.timeout(policy.timeoutMs);
    const signal = AbortSignal.any([timeout, this.#aborter.signal]);
    let judged: Judged;
    try {
      const asked = backend.judge({
        requestId,
        model: policy.model,
        subject: await subject(),
        detail: false,
        deadlineMs: policy.timeoutMs,
        signal,
      });
      const verdict = await untilAborted(asked, signal);
      judged = { kind: 'verdict', verdict: checked(verdict) };
    } catch (thrown) {
      const late = timeout.aborted ? policy.timeoutMs : null;
      judged = { kind: 'unavailable', error: unavailable(policy, thrown, late) };
    }
    if (!this.#aborter.signal.aborted) this.#count(stage, judged);
    return judged;
  }

  #count(stage: GuardStage, judged: Judged): void {
    const { policy, model, metrics } = this.#options;
    const unsafe = judged.kind === 'verdict' && judged.verdict.score >= policy.threshold;
    const verdict = judged.kind === 'unavailable' ? judged.kind : unsafe ? 'flagged' : 'clean';
    metrics.guardVerdict({ model, guard: policy.model, stage, verdict });
  }
}

/** A score that is no number would pass every threshold. */
function checked(verdict: Verdict): Verdict {
  if (verdict.score >= 0 && verdict.score <= 1) return verdict;
  throw new PlenumError('engine_failed', `a guard gave the score ${verdict.score}`);
}

function unavailable(policy: GuardPolicy, thrown: unknown, lateMs: number | null): ErrorRecord {
  const error = toErrorRecord(toPlenumError(thrown));
  const why = lateMs === null ? error.message : `it did not answer within ${formatMillis(lateMs)}`;
  return {
    code: 'guard_unavailable',
    message: `the guard ${policy.model} cannot judge this request: ${why}`,
    retryAfterMs: error.retryAfterMs,
  };
}

interface GuardedOptions extends GuardOptions {
  readonly request: ClientRequest;
  readonly inner: Generation;
  readonly judge: (stage: GuardStage, subject: () => Promise<JudgeSubject>) => Promise<Judged>;
}

class GuardedGeneration implements Generation {
  readonly #options: GuardedOptions;
  readonly #window: GuardWindow;
  readonly #out: GenerateEvent[] = [];
  #wake: (() => void) | null = null;
  #failure: unknown = null;
  #messages: Promise<readonly ChatMessage[]> | null = null;

  constructor(options: GuardedOptions) {
    this.#options = options;
    const { policy } = options;
    const heldTokensMax = Math.max(HELD_TOKENS_MAX_LEAST, policy.windowTokens * HELD_WINDOWS_MAX);
    this.#window = new GuardWindow({ policy, heldTokensMax });
    this.#apply(this.#window.start());
    void this.#pump();
  }

  cancel(code: 'client_closed' | 'slow_reader'): void {
    this.#options.inner.cancel(code);
    this.#apply(this.#window.onCancel({ kind: 'cancelled', code }));
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<GenerateEvent, void, undefined> {
    for (;;) {
      const event = this.#out.shift();
      if (event !== undefined) {
        yield event;
        if (event.kind === 'end') return;
        continue;
      }
      if (this.#failure !== null) throw this.#failure;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = null;
    }
  }

  async #pump(): Promise<void> {
    try {
      for await (const event of this.#options.inner) {
        this.#apply(this.#window.onEvent(event, this.#options.clock.now()));
      }
    } catch (thrown) {
      this.#fail(thrown);
    }
  }

  #fail(thrown: unknown): void {
    this.#failure ??= thrown;
    this.#wake?.();
  }

  #apply(actions: readonly WindowAction[]): void {
    for (const action of actions) this.#act(action);
  }

  #act(action: WindowAction): void {
    const { inner, metrics, model } = this.#options;
    switch (action.kind) {
      case 'send':
        if (action.heldMs !== null) metrics.guardHold(model, action.heldMs);
        this.#out.push(action.event);
        this.#wake?.();
        return;
      case 'cancel':
        inner.cancel('client_closed');
        return;
      case 'judge_input':
        this.#ask('input', async () => ({ kind: 'input', messages: await this.#said() }));
        return;
      case 'judge_output': {
        const { text: answer, freshFrom } = action;
        this.#ask('output', async () => {
          return { kind: 'output', messages: await this.#said(), answer, freshFrom };
        });
      }
    }
  }

  #ask(stage: GuardStage, subject: () => Promise<JudgeSubject>): void {
    this.#options.judge(stage, subject).then(
      (judged) => {
        this.#apply(this.#window.onJudged(stage, judged, this.#options.clock.now()));
      },
      (thrown: unknown) => this.#fail(thrown),
    );
  }

  /** The prompt as messages; text and tokens are one of the user. */
  #said(): Promise<readonly ChatMessage[]> {
    this.#messages ??= messagesOf(this.#options);
    return this.#messages;
  }
}

async function messagesOf({ backend, request }: GuardedOptions): Promise<readonly ChatMessage[]> {
  const { prompt } = request;
  switch (prompt.kind) {
    case 'chat':
      return prompt.messages;
    case 'text':
      return [{ role: 'user', content: prompt.text }];
    case 'tokens':
      return [{ role: 'user', content: await backend.detokenize(request.model, prompt.tokens) }];
  }
}
