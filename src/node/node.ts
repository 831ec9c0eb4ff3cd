/**
 * The Backend of one machine: its models, each with a supervised host. It finds the model that a
 * request names, has it in memory while it is used, renders chat templates, and passes generations
 * through. It schedules nothing.
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
  PoolAdmin,
} from '../http/backend.ts';
import { type ChatTemplate, compileChatTemplate } from '../model/chat-template.ts';
import type { MemoryNeed } from '../planner/memory.ts';
import { type ModelWish, needOf, smallerWishes } from '../planner/wish.ts';
import { type TurnKeeper, turnKeeperOf } from '../pool/arbiter-driver.ts';
import type { FootprintOf } from '../pool/footprint.ts';
import { Keeper, type Lease, type UseLimits } from '../pool/keeper.ts';
import type { KeeperEvent, KeptModel } from '../pool/keeper-types.ts';
import type { Floors } from '../pool/ledger.ts';
import type { PressureSource } from '../pool/pressure.ts';
import type { HostSupervisor, SupervisorChange } from '../pool/supervisor.ts';
import type { EncodeReply } from '../wire/encode.ts';
import type { GenerateEvent, PromptSource } from '../wire/generation.ts';
import type { GuardPolicy, Verdict } from '../wire/guard.ts';
import type { HostSpec, TokenPiece } from '../wire/host.ts';
import type { InputPrefixes, ModelInfo, SamplingDefaults } from '../wire/model-info.ts';
import type { ByteItem, ModelClass } from '../wire/pool.ts';
import type { TimeView } from '../wire/turn.ts';
import { EventStream } from './generation.ts';
import { judgeWith } from './guard.ts';
import type { LabelSettings } from './guard-labels.ts';
import { guardModel } from './guard-model.ts';
import { beginLater, submitLeased } from './loaded-later.ts';

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
  readonly keeping: Pick<KeptModel, 'pinned' | 'preload' | 'priority' | 'ttlMs'>;
  /** What it needs in memory, by item. */
  readonly items: readonly ByteItem[];
  /** What was asked of it, so that less can be proposed; null where that means nothing. */
  readonly wish: ModelWish | null;
}

/** The memory that the models share, and how it is looked at. */
export interface NodeMemory {
  readonly availableBytes: number;
  readonly availableSource: string;
  readonly floors: Floors;
  readonly footprintOf: FootprintOf;
  readonly pressure: PressureSource;
}

export interface NodeOptions {
  readonly models: readonly ServedModel[];
  readonly clock: Clock;
  readonly memory: NodeMemory;
  readonly onChange: (model: string, change: SupervisorChange) => void;
  readonly onEvent: (event: KeeperEvent) => void;
}

interface Entry {
  readonly model: ServedModel;
  readonly host: HostSupervisor;
  readonly standing: () => ReturnType<Keeper['stateOf']>;
  readonly created: number;
  template: { source: string; compiled: ChatTemplate } | null;
  /** Tokens of words that verdicts begin with. */
  readonly words: Map<string, Int32Array>;
}

export class Node implements Backend {
  readonly pool: PoolAdmin;
  readonly #entries: readonly Entry[];
  readonly #keeper: Keeper;
  readonly #clock: Clock;
  /** null where a single model has the machine to itself. */
  readonly #turns: TurnKeeper | null;
  #draining = false;

  constructor({ models, clock, memory, onChange, onEvent }: NodeOptions) {
    const created = Math.floor(Date.now() / 1000);
    const engines = models.map(({ spec }) => spec.engine);
    const turns = turnKeeperOf(engines, clock);
    this.#turns = turns;
    this.#clock = clock;
    const smaller = (id: string, roomBytes: number): readonly string[] => {
      const model = models.find((one) => one.id === id);
      return model === undefined ? [] : smallerThan(model, roomBytes);
    };
    const kept = models.map(({ id, class: c, spec, items, keeping }) => {
      return { id, class: c, spec, items, ...keeping };
    });
    const keeper = new Keeper({
      ...memory,
      models: kept,
      clock,
      turns,
      smaller,
      onChange,
      onEvent,
    });
    this.#keeper = keeper;
    this.#entries = models.map((model) => ({
      model,
      created,
      template: null,
      words: new Map(),
      host: keeper.host(model.id),
      standing: () => keeper.stateOf(model.id),
    }));
    this.pool = this.#admin(keeper);
  }

  get draining(): boolean {
    return this.#draining;
  }

  /**
   * Loads what is to be there from the start, and returns what is being loaded. Throws
   * model_does_not_fit or pool_full with the sum.
   */
  start(): readonly string[] {
    return this.#keeper.boot();
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
    const id = newId('gen');
    const { sampling, maxTokens, stop, promptLogprobs, deadlineMs } = request;
    const submit = (listener: (event: GenerateEvent) => void, leftMs: number | null): void => {
      const prompt = this.#promptSource(entry, request.prompt);
      const generation = { prompt, sampling, maxTokens, stop, promptLogprobs, deadlineMs: leftMs };
      entry.host.submit(id, generation, listener);
    };
    const cancel = (code: 'client_closed' | 'slow_reader'): void => entry.host.cancel(id, code);
    const lease = this.#keeper.tryUse(entry.model.id);
    if (lease === null) {
      const arrive = (limits: UseLimits): Promise<Lease> =>
        this.#keeper.use(entry.model.id, limits);
      return beginLater({ clock: this.#clock, arrive, deadlineMs, submit, cancel });
    }
    const stream = new EventStream(cancel);
    submitLeased(lease, stream, (listener) => submit(listener, deadlineMs));
    return stream;
  }

  /** Runs `work` while the model is in memory, loading it first if it must. */
  async #using<T>(entry: Entry, limits: UseLimits, work: () => Promise<T>): Promise<T> {
    if (this.#draining) throw new PlenumError('draining', 'the server is shutting down');
    const { id } = entry.model;
    const lease = this.#keeper.tryUse(id) ?? (await this.#keeper.use(id, limits));
    try {
      return await work();
    } finally {
      lease.release();
    }
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
    return this.#using(entry, NO_LIMITS, () => this.#tokenize(entry, input));
  }

  async #tokenize(
    entry: Entry,
    input: Parameters<Node['tokenize']>[1],
  ): ReturnType<Node['tokenize']> {
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
    const entry = this.#find(model);
    return this.#using(entry, NO_LIMITS, () => entry.host.detokenize(tokens));
  }

  async encode(request: ClientEncodeRequest): Promise<EncodeReply> {
    const { task, inputs, deadlineMs, signal } = request;
    const entry = this.#find(request.model);
    return this.#using(entry, { signal, deadlineMs }, () => {
      requireEncoder(entry);
      return entry.host.encode({ task, inputs, deadlineMs }, signal);
    });
  }

  async judge(request: JudgeRequest): Promise<Verdict> {
    const entry = this.#find(request.model);
    return this.#using(entry, request, () => this.#judge(entry, request));
  }

  async #judge(
    entry: Entry,
    { subject, detail, deadlineMs, signal }: JudgeRequest,
  ): Promise<Verdict> {
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
    await this.#keeper.drain(limitMs);
  }

  #admin(keeper: Keeper): PoolAdmin {
    const idOf = (name: string): string => this.#find(name).model.id;
    return {
      view: () => keeper.view(),
      load: async (name, signal) => {
        await keeper.load(idOf(name), signal);
        return keeper.modelView(idOf(name));
      },
      unload: async (name) => {
        await keeper.unload(idOf(name));
        return keeper.modelView(idOf(name));
      },
      pin: (name, pinned) => {
        keeper.pin(idOf(name), pinned);
        return keeper.modelView(idOf(name));
      },
    };
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

function infoOf({ model, host, created, standing }: Entry): ModelInfo {
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
    ...standing(),
  };
}

const NO_LIMITS: UseLimits = { signal: null, deadlineMs: null };

/** Smaller wishes by the planner's arithmetic, with what the engine said beyond it. */
function smallerThan({ wish, items }: ServedModel, roomBytes: number): readonly string[] {
  if (wish === null) return [];
  const neededBytes = items.reduce((sum, { bytes }) => sum + bytes, 0);
  const beyondBytes = Math.max(0, neededBytes - needOf(wish).neededBytes);
  const fits = (needs: readonly MemoryNeed[]): boolean =>
    needs.every((need) => need.neededBytes + beyondBytes <= roomBytes);
  return smallerWishes([wish], { fits });
}
