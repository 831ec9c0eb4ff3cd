/** A measuring process from its parent's side: load, rounds, close. Errors become PlenumErrors. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { fromErrorRecord, PlenumError } from '../../base/errors.ts';
import { hostEnvironment } from '../../pool/host-environment.ts';
import type {
  FromMeasure,
  MeasuredEngine,
  MeasureModel,
  StepPoint,
  Timing,
  ToMeasure,
} from './messages.ts';

const CHILD = fileURLToPath(new URL('./child.ts', import.meta.url));

/** What measures steps; a fake one in tests. */
export interface StepMeter {
  readonly facts: MeasuredEngine;
  /** Timings of each point, in their order. */
  round(points: readonly StepPoint[], repeats: number): Promise<readonly (readonly Timing[])[]>;
  close(): Promise<void>;
}

/** Rejects with what the engine says, or `host_crashed` when the process dies. */
export async function openMeter(model: MeasureModel, signal: AbortSignal): Promise<StepMeter> {
  const child = fork(CHILD, [], {
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    env: hostEnvironment(),
  });
  const stop = (): void => void child.kill('SIGKILL');
  signal.addEventListener('abort', stop, { once: true });
  const ask = (message: ToMeasure): Promise<FromMeasure> => answerTo(child, message, signal);
  const close = async (): Promise<void> => {
    signal.removeEventListener('abort', stop);
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('close', resolve));
    stop();
    await ended;
  };
  try {
    const reply = await ask({ type: 'load', model });
    if (reply.type !== 'loaded') throw unexpected(reply);
    return {
      facts: reply.facts,
      close,
      round: async (points, repeats) => {
        const measured = await ask({ type: 'round', points, repeats });
        if (measured.type !== 'measured') throw unexpected(measured);
        return measured.timings;
      },
    };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

function answerTo(
  child: ChildProcess,
  message: ToMeasure,
  signal: AbortSignal,
): Promise<FromMeasure> {
  return new Promise((resolve, reject) => {
    const done = (): void => {
      child.off('message', answered);
      child.off('close', died);
    };
    const answered = (reply: FromMeasure): void => {
      done();
      if (reply.type === 'failed') reject(fromErrorRecord(reply.error));
      else resolve(reply);
    };
    const died = (code: number | null, how: string | null): void => {
      done();
      const text = `the process that measures ended (${how ?? `exit code ${code}`})`;
      reject(signal.aborted ? signal.reason : new PlenumError('host_crashed', text));
    };
    child.once('message', answered);
    child.once('close', died);
    child.send(message);
  });
}

const unexpected = ({ type }: FromMeasure): PlenumError =>
  new PlenumError('internal', `a measuring process answered with ${type}`);
