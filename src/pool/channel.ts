/**
 * One live host process: starts it, speaks wire/host.ts with it, routes what it says to the
 * generations and calls that wait for it, and ends all of them when it dies. It lives once; the
 * supervisor starts the next one.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { unreachable } from '../base/assert.ts';
import { type ErrorRecord, fromErrorRecord, PlenumError } from '../base/errors.ts';
import type { EncodeReply, EncodeRequest } from '../wire/encode.ts';
import {
  type GenerateEvent,
  type GenerateRequest,
  NO_TIMINGS,
  NO_USAGE,
} from '../wire/generation.ts';
import type { FromHost, HostFacts, HostSpec, ToHost, TokenPiece } from '../wire/host.ts';
import type { LoadReport } from '../wire/report.ts';
import type { TurnOrder, TurnReport } from '../wire/turn.ts';
import { hostEnvironment } from './host-environment.ts';

const HOST_MAIN = new URL('../host/main.ts', import.meta.url);
const STDERR_LINES_MAX = 20;
const STDERR_LINE_CHARS_MAX = 400;

export interface ChannelListener {
  readonly onProgress: (fraction: number) => void;
  readonly onReady: (facts: HostFacts) => void;
  readonly onReport: (report: LoadReport) => void;
  readonly onTurn: (report: TurnReport) => void;
  /** The process has said that it is about to end, and takes nothing more. */
  readonly onFatal: (error: ErrorRecord) => void;
  /** The process is gone; `error` is null when it was asked to go. */
  readonly onExit: (error: ErrorRecord | null) => void;
}

type Listener = (event: GenerateEvent) => void;
interface Call {
  readonly resolve: (message: FromHost) => void;
  readonly reject: (error: PlenumError) => void;
}

export class HostChannel {
  readonly #child: ChildProcess;
  readonly #listener: ChannelListener;
  readonly #generations = new Map<string, Listener>();
  readonly #calls = new Map<number, Call>();
  readonly #stderr: string[] = [];
  #nextCall = 1;
  #fatal: ErrorRecord | null = null;
  #closing = false;
  #gone = false;

  constructor(spec: HostSpec, listener: ChannelListener) {
    this.#listener = listener;
    this.#child = fork(HOST_MAIN, [], {
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: hostEnvironment(),
      execArgv: ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=4'],
    });
    this.#child.on('message', (message: FromHost) => this.#receive(message));
    this.#child.on('error', (thrown) => this.#bury(`it could not be started: ${thrown.message}`));
    this.#child.on('exit', (code, signal) => {
      this.#bury(signal === null ? `it exited with code ${code}` : `it was ended by ${signal}`);
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => this.#keep(text));
    this.#post({ type: 'load', spec });
  }

  get pid(): number | null {
    return this.#child.pid ?? null;
  }

  get generating(): number {
    return this.#generations.size;
  }

  /** Events of the generation go to `listener`, an `end` last, whatever happens. */
  submit(id: string, request: GenerateRequest, listener: Listener): void {
    this.#generations.set(id, listener);
    if (this.#gone) this.#end(id, this.#crash('it is gone'));
    else this.#post({ type: 'submit', id, request });
  }

  cancel(id: string, code: 'client_closed' | 'slow_reader'): void {
    if (this.#generations.has(id)) this.#post({ type: 'cancel', id, code });
  }

  async tokenize(input: {
    text: string;
    addSpecial: boolean;
    parseSpecial: boolean;
    withPieces: boolean;
  }): Promise<{ tokens: Int32Array; pieces: readonly TokenPiece[] | null }> {
    const reply = await this.#call((call) => ({ type: 'tokenize', call, ...input }));
    if (reply.type !== 'tokenized')
      throw new PlenumError('internal', 'a host mixed up its replies');
    return reply;
  }

  async detokenize(tokens: Int32Array): Promise<string> {
    const reply = await this.#call((call) => ({ type: 'detokenize', call, tokens }));
    if (reply.type !== 'detokenized') {
      throw new PlenumError('internal', 'a host mixed up its replies');
    }
    return reply.text;
  }

  /** What the time arbiter tells the host. */
  turn(order: TurnOrder): void {
    this.#post(order);
  }

  /** Rejects with what the host says, client_closed when `signal` ended it, or host_crashed. */
  async encode(request: EncodeRequest, signal?: AbortSignal): Promise<EncodeReply> {
    if (signal?.aborted === true) throw new PlenumError('client_closed', 'the client went away');
    let cancel = (): void => undefined;
    const answered = this.#call((call) => {
      cancel = () => this.#post({ type: 'cancel_call', call });
      return { type: 'encode', call, request };
    });
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      const reply = await answered;
      if (reply.type === 'encoded') return reply.reply;
      throw new PlenumError('internal', 'a host mixed up its replies');
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }

  /** Lets it finish what it has accepted, then it goes. */
  drain(): void {
    this.#closing = true;
    this.#post({ type: 'drain' });
  }

  /** It goes after the step in flight. */
  close(): void {
    this.#closing = true;
    this.#post({ type: 'close' });
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  #call(message: (call: number) => ToHost): Promise<FromHost> {
    const call = this.#nextCall;
    this.#nextCall += 1;
    return new Promise((resolve, reject) => {
      if (this.#gone) {
        reject(fromErrorRecord(this.#crash('it is gone')));
        return;
      }
      this.#calls.set(call, { resolve, reject });
      this.#post(message(call));
    });
  }

  #post(message: ToHost): void {
    // A send to a host that dies in this moment fails; its exit is what ends the waiting.
    if (this.#child.connected) this.#child.send(message, () => undefined);
  }

  #receive(message: FromHost): void {
    switch (message.type) {
      case 'progress':
        this.#listener.onProgress(message.fraction);
        break;
      case 'ready':
        this.#listener.onReady(message.facts);
        break;
      case 'report':
        this.#listener.onReport(message.report);
        break;
      case 'turn':
        this.#listener.onTurn(message);
        break;
      case 'events':
        for (const { id, event } of message.events) this.#deliver(id, event);
        break;
      case 'fatal':
        this.#fatal = message.error;
        this.#listener.onFatal(message.error);
        break;
      case 'tokenized':
      case 'detokenized':
      case 'encoded':
        this.#calls.get(message.call)?.resolve(message);
        this.#calls.delete(message.call);
        break;
      case 'call_failed':
        this.#calls.get(message.call)?.reject(fromErrorRecord(message.error));
        this.#calls.delete(message.call);
        break;
      default:
        unreachable(message);
    }
  }

  #deliver(id: string, event: GenerateEvent): void {
    const listener = this.#generations.get(id);
    if (event.kind === 'end') this.#generations.delete(id);
    listener?.(event);
  }

  #end(id: string, error: ErrorRecord): void {
    const outcome = { kind: 'failed', code: error.code } as const;
    const end = { kind: 'end', outcome, error, stopString: null } as const;
    this.#deliver(id, { ...end, usage: NO_USAGE, timings: NO_TIMINGS });
  }

  /** The process is gone: whoever waits for it learns so, once. */
  #bury(how: string): void {
    if (this.#gone) return;
    this.#gone = true;
    const error = this.#crash(how);
    for (const id of [...this.#generations.keys()]) this.#end(id, error);
    for (const call of this.#calls.values()) call.reject(fromErrorRecord(error));
    this.#calls.clear();
    this.#listener.onExit(this.#closing && this.#fatal === null ? null : (this.#fatal ?? error));
  }

  #crash(how: string): ErrorRecord {
    const last = this.#stderr.at(-1);
    const said = last === undefined ? '' : `; its last words: ${last}`;
    return { code: 'host_crashed', message: `the model’s host process died: ${how}${said}` };
  }

  #keep(text: string): void {
    for (const line of text.split('\n')) {
      if (line.trim() !== '') this.#stderr.push(line.slice(0, STDERR_LINE_CHARS_MAX));
    }
    this.#stderr.splice(0, Math.max(0, this.#stderr.length - STDERR_LINES_MAX));
  }
}
