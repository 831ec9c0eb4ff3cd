/** From a HostSpec to a running host: opens the engine, builds the loop on what it found. */
import { systemClock } from '../base/clock.ts';
import type { ErrorRecord } from '../base/errors.ts';
import type { Encoder } from '../engine/encoder.ts';
import type { Engine } from '../engine/port.ts';
import { OnlineStepTime } from '../planner/step-time.ts';
import { Scheduler } from '../scheduler/scheduler.ts';
import type { HostFacts, HostSpec } from '../wire/host.ts';
import { CALIBRATION_MS_MAX, calibrate } from './calibrate.ts';
import { EncodeHost } from './encode-host.ts';
import { firstStepTime } from './first-step-time.ts';
import { Host, type HostEvent } from './host.ts';
import type { TurnGate } from './turn-gate.ts';

/** By the role of the spec. */
export type OpenedHost =
  | {
      readonly role: 'generate';
      readonly host: Host;
      readonly engine: Engine;
      readonly facts: HostFacts;
    }
  | {
      readonly role: 'encode';
      readonly host: EncodeHost;
      readonly engine: Encoder;
      readonly facts: HostFacts;
    };

export interface OpenHostOptions {
  readonly gate: TurnGate;
  readonly onProgress: (fraction: number) => void;
  readonly send: (events: readonly HostEvent[]) => void;
  readonly failed: (error: ErrorRecord) => void;
}

/** Rejects with PlenumError: library_missing, binding_mismatch, load_failed, file_*. */
export function openHost(spec: HostSpec, options: OpenHostOptions): Promise<OpenedHost> {
  return spec.role === 'encode' ? openEncode(spec, options) : openGenerate(spec, options);
}

async function openGenerate(spec: HostSpec, options: OpenHostOptions): Promise<OpenedHost> {
  const from = systemClock.now();
  const engine = await openEngine(spec, options.onProgress);
  const { facts } = engine;
  const time = await firstStepTime(spec, facts);
  // The simulated engine is as fast as it says, and its faults count its steps.
  if (spec.engine.kind === 'llama') {
    const { calibrationMsMax: msMax = CALIBRATION_MS_MAX } = spec;
    await calibrate(engine, { time, clock: systemClock, msMax });
  }
  const scheduler = new Scheduler({
    layout: facts.prefixSharing === 'copies' ? 'slots' : 'shared',
    cells: facts.cells,
    contextTokens: Math.min(spec.contextTokens, facts.contextTokens),
    parallel: spec.parallel,
    seqsMax: facts.seqsMax,
    stepTokensMax: facts.stepTokensMax,
    queueMax: spec.queueMax,
    waitMsMax: spec.waitMsMax,
    stepTargetMs: spec.stepTargetMs,
    prefixCache: spec.prefixCache && facts.prefixSharing !== 'none',
    time,
  });
  const host = new Host({
    engine,
    scheduler,
    clock: systemClock,
    parallel: spec.parallel,
    queueMax: spec.queueMax,
    gate: options.gate,
    send: options.send,
    failed: options.failed,
  });
  const { guess: _guess, cells: _cells, seqsMax: _seqs, ...shown } = facts;
  return {
    role: 'generate',
    host,
    engine,
    facts: {
      pid: process.pid,
      engine: shown.engine,
      device: shown.device,
      description: shown.description,
      vocabSize: shown.vocabSize,
      trainedContextTokens: shown.trainedContextTokens,
      contextTokens: Math.min(spec.contextTokens, shown.contextTokens),
      chatTemplate: shown.chatTemplate,
      bosText: shown.bosText,
      eosText: shown.eosText,
      synthetic: shown.synthetic,
      loadMs: systemClock.now() - from,
      encoder: null,
    },
  };
}

/** The engine that is not asked for is not loaded. */
async function openEngine(spec: HostSpec, onProgress: (fraction: number) => void): Promise<Engine> {
  const { contextTokens, cells, parallel, prefixCache } = spec;
  const options = { contextTokens, cells, parallel, prefixCache, onProgress };
  if (spec.engine.kind === 'sim') {
    const { openSimEngine } = await import('../engine/sim/engine.ts');
    return openSimEngine(spec.engine.sim, options);
  }
  const { openLlamaEngine } = await import('../engine/llama/engine.ts');
  return openLlamaEngine(spec.engine, options);
}

async function openEncode(spec: HostSpec, options: OpenHostOptions): Promise<OpenedHost> {
  const from = systemClock.now();
  const engine = await openEncoder(spec, options.onProgress);
  const { facts } = engine;
  const host = new EncodeHost({
    encoder: engine,
    time: new OnlineStepTime(facts.guess),
    clock: systemClock,
    gate: options.gate,
    limits: spec.encode,
    waitMsMax: spec.waitMsMax,
    failed: options.failed,
  });
  return {
    role: 'encode',
    host,
    engine,
    facts: {
      pid: process.pid,
      engine: facts.engine,
      device: facts.device,
      description: facts.description,
      vocabSize: facts.vocabSize,
      trainedContextTokens: facts.trainedContextTokens,
      contextTokens: facts.contextTokens,
      chatTemplate: null,
      bosText: '',
      eosText: '',
      synthetic: facts.synthetic,
      loadMs: systemClock.now() - from,
      encoder: {
        tasks: facts.tasks,
        dimensions: facts.dimensions,
        pooling: facts.pooling,
        labels: facts.labels,
        matryoshkaDimensions: facts.matryoshkaDimensions,
      },
    },
  };
}

async function openEncoder(
  spec: HostSpec,
  onProgress: (fraction: number) => void,
): Promise<Encoder> {
  const { batchTokensMax, batchInputsMax } = spec.encode;
  const { contextTokens } = spec;
  const options = { contextTokens, batchTokensMax, batchInputsMax, onProgress };
  if (spec.engine.kind === 'sim') {
    const { openSimEncoder } = await import('../engine/sim/encoder.ts');
    return openSimEncoder(spec.engine.sim, options);
  }
  const { openLlamaEncoder } = await import('../engine/llama/encoder.ts');
  return openLlamaEncoder(spec.engine, options);
}
