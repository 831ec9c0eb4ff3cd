/**
 * The child process of one model: speaks the messages of wire/host.ts with its parent and runs the
 * loop of host.ts. It exits by itself when the parent is gone, so that no host outlives its server;
 * Ctrl-C in a terminal reaches the whole process group and is the parent's to handle.
 */
import { enableCompileCache } from 'node:module';
import { type ErrorRecord, PlenumError, toErrorRecord } from '../base/errors.ts';
import type { EncodeRequest } from '../wire/encode.ts';
import { type GenerateRequest, NO_TIMINGS, NO_USAGE } from '../wire/generation.ts';
import type { FromHost, HostSpec, ToHost } from '../wire/host.ts';
import { checkTokens } from './admit.ts';
import type { OpenedHost } from './open.ts';
import { textOf } from './request.ts';
import { TurnGate } from './turn-gate.ts';

enableCompileCache();

/** A step that computes for longer than this will not end. */
const STEP_HANG_MS = 120_000;
const EXIT_FAILED = 70;

let opened: OpenedHost | null = null;
let heartbeat: NodeJS.Timeout | undefined;
const gate = new TurnGate(send);
/** What is being tokenised, detokenised or encoded. */
const calls = new Set<Promise<void>>();

/** Resolves when the message sent last has left the process. */
let flushed: Promise<void> = Promise.resolve();

function send(message: FromHost): void {
  if (!process.connected) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  flushed = promise;
  // An error means that the parent is gone, and with it whoever waited for the message.
  process.send?.(message, () => resolve());
}

/** Says why, gives the message time to leave, and is gone: native state is not trusted any more. */
function fatal(error: ErrorRecord): void {
  const bye = (): void => {
    process.kill(process.pid, 'SIGKILL');
  };
  process.exitCode = EXIT_FAILED;
  setTimeout(bye, 1000).unref();
  if (process.connected) process.send?.({ type: 'fatal', error } satisfies FromHost, bye);
  else bye();
}

async function load(spec: HostSpec): Promise<void> {
  const { openHost } = await import('./open.ts');
  let progressed = -1;
  opened = await openHost(spec, {
    gate,
    onProgress: (fraction) => {
      const percent = Math.floor(fraction * 100);
      if (percent > progressed) send({ type: 'progress', fraction });
      progressed = percent;
    },
    send: (events) => send({ type: 'events', events }),
    failed: fatal,
  });
  const { host } = opened;
  send({ type: 'ready', facts: opened.facts });
  const beat = (): void => {
    if (host.stepAgeMs > STEP_HANG_MS) {
      const seconds = Math.round(STEP_HANG_MS / 1000);
      fatal({ code: 'engine_failed', message: `a step has been computing for ${seconds} s` });
    }
    send({ type: 'report', report: host.report() });
  };
  heartbeat = setInterval(beat, spec.heartbeatMs);
  beat();
  void host.run();
}

async function tokenize(call: number, message: ToHost & { type: 'tokenize' }): Promise<void> {
  if (opened === null) return;
  if (opened.role === 'encode') {
    if (message.withPieces || !message.addSpecial) throw wrongRole('tokens with special ones only');
    const input = { kind: 'text', text: message.text } as const;
    const tokens = await opened.engine.tokenize(input);
    return send({ type: 'tokenized', call, tokens, pieces: null });
  }
  const { engine } = opened;
  const tokens = await engine.tokenize(message.text, message);
  const pieces = message.withPieces
    ? Array.from(tokens, (id) => ({ id, bytes: Array.from(engine.tokenBytes(id)) }))
    : null;
  send({ type: 'tokenized', call, tokens, pieces });
}

function detokenize(call: number, tokens: Int32Array): void {
  if (opened === null) return;
  if (opened.role === 'encode') throw wrongRole('vectors, no text');
  const { engine } = opened;
  checkTokens(tokens, engine.facts.vocabSize, 'tokens');
  send({ type: 'detokenized', call, text: textOf(tokens, (token) => engine.tokenBytes(token)) });
}

async function encode(call: number, request: EncodeRequest): Promise<void> {
  if (opened === null) return;
  if (opened.role === 'generate') throw wrongRole('text, no vectors');
  send({ type: 'encoded', call, reply: await opened.host.encode(call, request) });
}

async function submit(id: string, request: GenerateRequest): Promise<void> {
  if (opened === null) return;
  if (opened.role === 'generate') return opened.host.submit(id, request);
  const error = toErrorRecord(wrongRole('vectors, no text'));
  const outcome = { kind: 'refused', code: error.code } as const;
  const end = { kind: 'end', outcome, error, stopString: null } as const;
  const event = { ...end, usage: NO_USAGE, timings: NO_TIMINGS };
  send({ type: 'events', events: [{ id, event }] });
}

const wrongRole = (gives: string): PlenumError =>
  new PlenumError('wrong_endpoint', `this model gives ${gives}`, { param: 'model' });

async function close(): Promise<void> {
  clearInterval(heartbeat);
  opened?.host.close();
  await opened?.engine.shutdown();
  await flushed;
  process.disconnect?.();
  process.exit(0);
}

async function handle(message: ToHost): Promise<void> {
  switch (message.type) {
    case 'load':
      return load(message.spec);
    case 'submit':
      return submit(message.id, message.request);
    case 'cancel':
      if (opened?.role === 'generate') opened.host.cancel(message.id, message.code);
      return;
    case 'encode':
      return encode(message.call, message.request);
    case 'cancel_call':
      if (opened?.role === 'encode') opened.host.cancel(message.call);
      return;
    case 'tokenize':
      return tokenize(message.call, message);
    case 'detokenize':
      return detokenize(message.call, message.tokens);
    case 'turn':
      return gate.order(message);
    case 'drain':
      await opened?.host.drain();
      await Promise.allSettled(calls);
      return close();
    case 'close':
      return close();
  }
}

const isCall = (
  message: ToHost,
): message is ToHost & { type: 'tokenize' | 'detokenize' | 'encode' } =>
  message.type === 'tokenize' || message.type === 'detokenize' || message.type === 'encode';

process.on('message', (message: ToHost) => {
  if (!isCall(message)) {
    handle(message).catch((thrown: unknown) => fatal(toErrorRecord(thrown)));
    return;
  }
  const call = handle(message).catch((thrown: unknown) => {
    send({ type: 'call_failed', call: message.call, error: toErrorRecord(thrown) });
  });
  calls.add(call);
  void call.then(() => calls.delete(call));
});
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
process.on('uncaughtException', (thrown) => fatal(toErrorRecord(thrown)));
process.on('unhandledRejection', (thrown) => fatal(toErrorRecord(thrown)));
