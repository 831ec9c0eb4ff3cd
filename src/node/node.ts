/**
 * The Backend of one machine: its models, each with a supervised host. It finds the model that a
 * request names, renders chat templates, and passes generations through. It schedules nothing.
 */
import type { Clock } from '../base/clock.ts';
import { PlenumError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { nearest } from '../base/nearest.ts';
import type {
  Backend,
  ClientEncodeRequest,
  ClientPrompt,
  ClientRequest,
  Generation,
  HostStatus,
  JudgeRequest,
} from '../http/backend.ts';
import { type ChatTemplate, compileChatTemplate } from '../model/chat-template.ts';
import { type TurnKeeper, turnKeeperOf } from '../pool/arbiter-driver.ts';
import { HostSupervisor, type SupervisorChange } from '../pool/supervisor.ts';
import type { EncodeReply } from '../wire/encode.ts';
import type { PromptSource } from '../wire/generation.ts';
import type { GuardPolicy, Verdict } from '../wire/guard.ts';
import type { HostSpec, TokenPiece } from '../wire/host.ts';
import type { InputPrefixes, ModelInfo, SamplingDefaults } from '../wire/model-info.ts';
import type { ModelClass } from '../wire/pool.ts';
import type { TimeView } from '../wire/turn.ts';
import { EventStream } from './generation.ts';
import { judgeWith } from './guard.ts';
import type { LabelSettings } from './guard-labels.ts';
import { guardModel } from './guard-model.ts';

/** A model of the configuration, resolved to a file. */
export interface ServedModel {
  readonly id: string;
  readonly aliases: readonly string[];
  readonly description: string;
  readonly class: ModelClass;
  readonly synthetic: boolean;
  readonly inputPrefixes: InputPrefixes;
  readonly samplingDefaults: SamplingDefaults;
  readonly guard: GuardPolicy | null;
  /** How it judges, if it is a guard. */
  readonly judging: LabelSettings & { readonly threshold: number };
  /** Replaces the model's own chat template. */
  readonly chatTemplate: string | null;
  /** Special tokens as text: written out by a user they stay text. */
  readonly specials: readonly string[];
  readonly spec: HostSpec;
}

export interface NodeOptions {
  readonly models: readonly ServedModel[];
  readonly clock: Clock;
  readonly onChange: (model: string, change: SupervisorChange) => void;
}

interface Entry {
  readonly model: ServedModel;
  readonly host: HostSupervisor;
  readonly created: number;
  template: { source: string; compiled: ChatTemplate } | null;
  /** Tokens of words that verdicts begin with. */
  readonly words: Map<string, Int32Array>;
}

export class Node implements Backend {
  readonly #entries: readonly Entry[];
  /** null where a single model has the machine to itself. */
  readonly #turns: TurnKeeper | null;
  #draining = false;

  constructor({ models, clock, onChange }: NodeOptions) {
    const created = Math.floor(Date.now() / 1000);
    const engines = models.map(({ spec }) => spec.engine);
    const turns = turnKeeperOf(engines, clock);
    this.#turns = turns;
    this.#entries = models.map((model) => ({
      model,
      created,
      template: null,
      words: new Map(),
      host: new HostSupervisor({
        spec: model.spec,
        clock,
        takeSeat: turns && ((post) => turns.seat(model.id, model.class, post)),
        onChange: (change) => onChange(model.id, change),
      }),
    }));
  }

  get draining(): boolean {
    return this.#draining;
  }

  start(): void {
    for (const { host } of this.#entries) host.start();
  }

  models(): readonly ModelInfo[] {
    return this.#entries.map((entry) => infoOf(entry));
  }

  status(): readonly HostStatus[] {
    return this.#entries.map((entry) => ({
      model: infoOf(entry),
      report: entry.host.report,
      restarts: entry.host.restarts,
      pid: entry.host.pid,
      device: entry.host.facts?.device ?? null,
      loadFraction: entry.host.loadFraction,
    }));
  }

  /** How the models share the machine's time; null where one has it to itself. */
  time(): TimeView | null {
    return this.#turns?.view() ?? null;
  }

  generate(request: ClientRequest): Generation {
    if (this.#draining) throw new PlenumError('draining', 'the server is shutting down');
    const entry = this.#find(request.model);
    const prompt = this.#promptSource(entry, request.prompt);
    const id = newId('gen');
    const stream = new EventStream((code) => entry.host.cancel(id, code));
    const { sampling, maxTokens, stop, promptLogprobs, deadlineMs } = request;
    const generation = { prompt, sampling, maxTokens, stop, promptLogprobs, deadlineMs };
    entry.host.submit(id, generation, (event) => stream.push(event));
    return stream;
  }

  async tokenize(
    model: string,
    input: {
      readonly prompt: ClientPrompt;
      readonly addSpecial: boolean;
      readonly parseSpecial: boolean;
      readonly withPieces: boolean;
    },
  ): Promise<{
    tokens: Int32Array;
    pieces: readonly TokenPiece[] | null;
    contextTokens: number;
  }> {
    const entry = this.#find(model);
    const { contextTokens } = infoOf(entry);
    const source = this.#promptSource(entry, input.prompt);
    if (source.kind === 'tokens') return { tokens: source.tokens, pieces: null, contextTokens };
    // The template writes the special tokens itself (the convention of Hugging Face).
    const { addSpecial, parseSpecial } =
      source.kind === 'text' ? input : { addSpecial: false, parseSpecial: true };
    const texts = source.kind === 'text' ? [source.text] : source.segments;
    const { withPieces } = input;
    const parts = [];
    for (const text of texts) {
      parts.push(await entry.host.tokenize({ text, addSpecial, parseSpecial, withPieces }));
    }
    return {
      tokens: Int32Array.from(parts.flatMap((part) => Array.from(part.tokens))),
      pieces: withPieces ? parts.flatMap((part) => part.pieces ?? []) : null,
      contextTokens,
    };
  }

  async detokenize(model: string, tokens: Int32Array): Promise<string> {
    return this.#find(model).host.detokenize(tokens);
  }

  async encode(request: ClientEncodeRequest): Promise<EncodeReply> {
    if (this.#draining) throw new PlenumError('draining', 'the server is shutting down');
    const { task, inputs, deadlineMs, signal } = request;
    const entry = this.#find(request.model);
    requireEncoder(entry);
    return entry.host.encode({ task, inputs, deadlineMs }, signal);
  }

  async judge({ model, subject, detail, deadlineMs, signal }: JudgeRequest): Promise<Verdict> {
    if (this.#draining) throw new PlenumError('draining', 'the server is shutting down');
    const entry = this.#find(model);
    const info = infoOf(entry);
    const source = this.#templateSource(entry);
    const guard = guardModel({
      host: entry.host,
      traits: { id: info.id, description: info.description, template: source },
      contextTokens: info.contextTokens,
      labels: info.encoder === null ? null : info.encoder.labels,
      settings: entry.model.judging,
      template: source === null ? null : this.#templateOf(entry),
      specials: entry.model.specials,
      deadlineMs,
      signal,
      words: entry.words,
    });
    return judgeWith(guard, subject, detail);
  }

  /** Takes nothing new, lets what runs finish within `limitMs`, then ends the hosts. */
  async drain(limitMs: number): Promise<void> {
    this.#draining = true;
    await Promise.all(this.#entries.map(({ host }) => host.stop(limitMs)));
  }

  #find(name: string): Entry {
    const found = this.#entries.find(
      ({ model }) => model.id === name || model.aliases.includes(name),
    );
    if (found !== undefined) return found;
    const ids = this.#entries.map(({ model }) => model.id);
    const near = nearest(name, ids);
    const hint = near === null ? '' : `; did you mean "${near}"?`;
    const message = `no model "${name}" is served here${hint} The served ones: ${ids.join(', ')}`;
    throw new PlenumError('model_not_found', message, { param: 'model' });
  }

  #promptSource(entry: Entry, prompt: ClientPrompt): PromptSource {
    switch (prompt.kind) {
      case 'tokens':
        return { kind: 'tokens', tokens: prompt.tokens };
      case 'text':
        return { kind: 'text', text: prompt.text, addSpecial: true, parseSpecial: false };
      case 'chat': {
        const template = this.#templateOf(entry);
        const { specials } = entry.model;
        const segments = template.renderGuarded(prompt.messages, prompt.templateArgs, specials);
        return { kind: 'segments', segments };
      }
    }
  }

  /** The model's template as text; null = it has none. Throws `model_loading`. */
  #templateSource({ model, host }: Entry): string | null {
    if (host.facts !== null) return model.chatTemplate ?? host.facts.chatTemplate;
    const message = `model ${model.id}: ${host.reason ?? 'it is being loaded'}`;
    throw new PlenumError('model_loading', message, { retryAfterMs: 1000 });
  }

  #templateOf(entry: Entry): ChatTemplate {
    const { model, host } = entry;
    const source = this.#templateSource(entry);
    if (source === null || host.facts === null) {
      throw new PlenumError(
        'template_missing',
        `model ${model.id} carries no chat template: use /v1/completions, or give it one with ` +
          '`chat_template` in the configuration',
      );
    }
    if (entry.template?.source !== source) {
      const { bosText, eosText } = host.facts;
      entry.template = { source, compiled: compileChatTemplate(source, { bosText, eosText }) };
    }
    return entry.template.compiled;
  }
}

/** A host that generates would not know what to do; one that loads says so itself. */
function requireEncoder({ model, host }: Entry): void {
  if (host.facts === null || host.facts.encoder !== null) return;
  const message = `model ${model.id} generates text: it has no vectors to give`;
  throw new PlenumError('wrong_endpoint', message, { param: 'model' });
}

function infoOf({ model, host, created }: Entry): ModelInfo {
  const { facts } = host;
  return {
    id: model.id,
    aliases: model.aliases,
    created,
    description: model.description,
    class: model.class,
    encoder: facts?.encoder ?? null,
    inputPrefixes: model.inputPrefixes,
    samplingDefaults: model.samplingDefaults,
    guard: model.guard,
    flagThreshold: model.judging.threshold,
    contextTokens: facts?.contextTokens ?? model.spec.contextTokens,
    parallel: model.spec.parallel,
    synthetic: model.synthetic,
    hasChatTemplate: (model.chatTemplate ?? facts?.chatTemplate ?? null) !== null,
    state: host.state,
    reason: host.reason,
  };
}
