/**
 * What a person sees while a model is fetched: a bar on a terminal, a line per file elsewhere. It
 * writes to standard error only.
 */
import cliProgress from 'cli-progress';
import { formatBytes, formatMillis } from '../base/units.ts';
import type { PullEvent } from '../model/download-events.ts';
import type { CliContext } from './context.ts';

export interface PullReporter {
  readonly onEvent: (event: PullEvent) => void;
  /** Ends a bar that is still shown. Idempotent. */
  readonly stop: () => void;
}

export function pullReporter(context: CliContext): PullReporter {
  const { stderr } = context;
  const bar = new TransferBar(context);
  const say = (text: string): void => {
    bar.stop();
    stderr.write(`${text}\n`);
  };
  const onEvent = (event: PullEvent): void => {
    switch (event.kind) {
      case 'mirror':
        say(`fetching from ${event.mirror}: ${event.from}`);
        break;
      case 'mirror_failed':
        say(`${event.mirror} failed: ${event.reason}`);
        break;
      case 'waiting':
        say(`process ${event.pid} fetches the same model; waiting for it`);
        break;
      case 'transfer':
        bar.show(event);
        break;
      case 'retry':
        say(`${event.reason}; again in ${formatMillis(event.waitMs)}`);
        break;
      case 'checking':
        say(`checking ${event.file}`);
        break;
      case 'done':
        bar.stop();
        break;
    }
  };
  return { onEvent, stop: () => bar.stop() };
}

type Transfer = Extract<PullEvent, { kind: 'transfer' }>;

/** A bar where there is a terminal, one line per file where there is none. */
class TransferBar {
  readonly #context: CliContext;
  #file: string | null = null;
  #bar: cliProgress.SingleBar | null = null;

  constructor(context: CliContext) {
    this.#context = context;
  }

  show({ file, bytes, totalBytes, resumedBytes }: Transfer): void {
    if (this.#file !== file) {
      this.stop();
      this.#file = file;
      this.#begin(file, { totalBytes, resumedBytes });
    }
    this.#bar?.update(bytes, { shown: formatBytes(bytes) });
  }

  stop(): void {
    this.#bar?.stop();
    this.#bar = null;
    this.#file = null;
  }

  #begin(file: string, of: { totalBytes: number | null; resumedBytes: number }): void {
    const total = of.totalBytes === null ? '' : ` (${formatBytes(of.totalBytes)})`;
    const resumed = of.resumedBytes === 0 ? '' : `, ${formatBytes(of.resumedBytes)} are there`;
    if (!this.#context.stderr.isTTY) {
      this.#context.stderr.write(`${file}${total}${resumed}\n`);
      return;
    }
    this.#bar = new cliProgress.SingleBar({
      format: `${file} {bar} {percentage} %  {shown}${total}  {eta_formatted} left`,
      barCompleteChar: '█',
      barIncompleteChar: '░',
      hideCursor: true,
      stream: process.stderr,
    });
    this.#bar.start(of.totalBytes ?? 0, of.resumedBytes, { shown: formatBytes(of.resumedBytes) });
  }
}
