/**
 * One target over a whole bench: started and stopped where the bench owns it, known by its model,
 * dialect and counts. Owns the spawned server and the record of its cold starts.
 */
import { defined } from '../base/assert.ts';
import type { Call } from './client/call.ts';
import { TargetClient } from './client/target-client.ts';
import { PLAIN_STOCK } from './load/text.ts';
import { type Dialect, Workload } from './load/workload.ts';
import type { ColdStart, Target } from './result.ts';
import type { BenchSpec, TargetSpec } from './spec.ts';
import type { Api } from './target/api.ts';
import { counterOf, identify, negotiate, type Probed } from './target/probe.ts';
import { type SpawnedServer, spawnServer } from './target/spawned.ts';
import type { Counter } from './target/tokenizer.ts';

export interface Known {
  readonly dialect: Dialect;
  readonly counter: Counter;
}

export class Session {
  readonly #spec: BenchSpec;
  readonly #target: TargetSpec;
  readonly #signal: AbortSignal;
  readonly #coldStarts: ColdStart[] = [];
  readonly #quirks = new Set<string>();
  #server: SpawnedServer | null = null;
  #probed: Probed | null = null;
  #tokenizer: Target['tokenizer'] = 'none';

  constructor(spec: BenchSpec, target: TargetSpec, signal: AbortSignal) {
    this.#spec = spec;
    this.#target = target;
    this.#signal = signal;
  }

  get name(): string {
    return this.#target.name;
  }

  get model(): string | null {
    return this.#probed?.model ?? null;
  }

  /** Of a spawned server that runs. */
  get pid(): number | null {
    return this.#server?.pid ?? null;
  }

  /** Whether a spawned server has ended by itself; null for one that is not ours. */
  get hasDied(): boolean {
    return this.#server?.hasExited() ?? false;
  }

  /** Starts it where it is ours and does not run. Throws where it cannot be had. */
  async up(): Promise<void> {
    const { from, name, apiKey } = this.#target;
    if ('url' in from || (this.#server !== null && !this.#server.hasExited())) return;
    await this.down();
    const { readyPath, startMsMax } = this.#spec;
    const ask = { name, command: from.command, apiKey, readyPath, startMsMax };
    this.#server = await spawnServer({ ...ask, signal: this.#signal });
    this.#probed ??= await identify(this.#api(), name, this.#target.model);
    const first = await this.#firstRequest();
    this.#coldStarts.push({ readyMs: Math.round(this.#server.readyMs), first });
  }

  async down(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    await server?.stop();
  }

  client(): TargetClient {
    const { apiKey } = this.#target;
    return new TargetClient({ url: this.#url(), apiKey, limits: this.#spec.limits });
  }

  noteQuirks(quirks: Iterable<string>): void {
    for (const quirk of quirks) this.#quirks.add(quirk);
  }

  /** Its model, what it understands and how it counts. It must be up. */
  async probe(): Promise<Known> {
    const api = this.#api();
    const { name, model } = this.#target;
    this.#probed ??= await identify(api, name, model);
    const { settings, endpoint } = this.#spec;
    const isStreamed = settings.scenario !== 'embed' && settings.scenario !== 'rerank';
    const wanted: Dialect = { endpoint, ignoreEos: true, includeUsage: true };
    const who = { name, model: this.model };
    const { dialect, quirks } = isStreamed
      ? await negotiate(api, who, wanted)
      : { dialect: wanted, quirks: [] };
    const counter = await counterOf(api, this.model, isStreamed ? dialect : null);
    this.#tokenizer = counter.kind;
    this.noteQuirks([...this.#probed.quirks, ...quirks]);
    return { dialect, counter };
  }

  report(): Target {
    const { name, from } = this.#target;
    return {
      name,
      url: 'url' in from ? from.url : 'http://127.0.0.1:{port}',
      origin: 'url' in from ? 'external' : 'spawned',
      command: 'url' in from ? null : from.command,
      model: this.model,
      server: this.#probed?.server ?? null,
      tokenizer: this.#tokenizer,
      coldStarts: this.#coldStarts,
      quirks: [...this.#quirks].toSorted(),
    };
  }

  #url(): string {
    const { from } = this.#target;
    return 'url' in from ? from.url : defined(this.#server, 'a running server').url;
  }

  #api(): Api {
    return { url: this.#url(), apiKey: this.#target.apiKey, signal: this.#signal };
  }

  /** The first that a fresh server gets, in the plainest form, so that nothing has warmed it. */
  async #firstRequest(): Promise<ColdStart['first']> {
    const client = this.client();
    try {
      const epoch = performance.now();
      client.begin(epoch, null);
      return await client.send(this.#firstCall(), epoch);
    } finally {
      client.close();
    }
  }

  #firstCall(): Call {
    const { settings, endpoint } = this.#spec;
    const stock = PLAIN_STOCK;
    const lengths = {
      promptTokens: { kind: 'fixed', tokens: FIRST_TOKENS },
      outputTokens: { kind: 'fixed', tokens: FIRST_TOKENS },
    } as const;
    const shape = { ...settings, ...lengths, turns: 1, sharedTokens: 0, items: 1 };
    const dialect = { endpoint, ignoreEos: false, includeUsage: false };
    const options = { settings: shape, stock, seed: 0, trace: null, dialect, lanes: 1 };
    return new Workload({ ...options, model: this.model }).at(0);
  }
}

/** Prompt and answer of the first request to a fresh server. */
const FIRST_TOKENS = 16;
