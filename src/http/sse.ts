/**
 * Server-sent events to one client. What is sent within one turn of the event loop goes as one
 * write. A stream that has been silent for a while says that it is alive, in a comment that clients
 * skip. A client that reads too slowly is given up when it would need more than its buffer, or when
 * it has not read at all for too long.
 */
import type { ServerResponse } from 'node:http';

/** Flushes every stream that has something to send, once per turn of the event loop. */
export class FlushQueue {
  #dirty: SseStream[] = [];

  add(stream: SseStream): void {
    if (this.#dirty.length === 0) setImmediate(() => this.#run());
    this.#dirty.push(stream);
  }

  #run(): void {
    const streams = this.#dirty;
    this.#dirty = [];
    for (const stream of streams) stream.flush();
  }
}

export interface SseOptions {
  readonly raw: ServerResponse;
  readonly queue: FlushQueue;
  readonly bufferBytesMax: number;
  readonly stalledMs: number;
  /** A comment is sent whenever there was nothing else for this long. */
  readonly keepAliveMs: number;
  /** The client reads too slowly; the stream destroys its socket after this. */
  readonly onSlow: () => void;
}

export const KEEP_ALIVE = ': keep-alive\n\n';

export class SseStream {
  readonly #options: SseOptions;
  #pending = '';
  #pendingBytes = 0;
  #open = false;
  #queued = false;
  #blocked = false;
  #finished = false;
  #closed = false;
  #stall: NodeJS.Timeout | null = null;
  #keepAlive: NodeJS.Timeout | null = null;

  constructor(options: SseOptions) {
    this.#options = options;
    options.raw.once('close', () => this.#close());
  }

  /** Sends the head with the headers set on the response; what was sent before it follows. */
  open(): void {
    if (this.#closed) return;
    this.#options.raw.writeHead(200);
    this.#open = true;
    const { keepAliveMs } = this.#options;
    this.#keepAlive = setInterval(() => this.send(KEEP_ALIVE), keepAliveMs).unref();
    this.flush();
  }

  /** Adds whole events (`data: …\n\n`). */
  send(text: string): void {
    if (this.#closed || text === '') return;
    this.#pending += text;
    if (this.#blocked) this.#hold(text);
    else this.#schedule();
  }

  /** Ends the stream after what was sent. */
  finish(): void {
    if (this.#closed) return;
    this.#finished = true;
    this.#schedule();
  }

  flush(): void {
    this.#queued = false;
    if (this.#closed || this.#blocked || !this.#open) return;
    const { raw } = this.#options;
    const text = this.#pending;
    this.#pending = '';
    this.#pendingBytes = 0;
    if (text !== '') {
      this.#keepAlive?.refresh();
      if (!raw.write(text)) this.#block();
    }
    // The rest is the socket's to send; the stall timer goes on until it is closed or drained.
    if (this.#finished) {
      this.#quiet();
      raw.end();
    }
  }

  #schedule(): void {
    if (!this.#open || this.#queued || this.#blocked) return;
    this.#queued = true;
    this.#options.queue.add(this);
  }

  #block(): void {
    this.#blocked = true;
    this.#stall = setTimeout(() => this.#giveUp(), this.#options.stalledMs).unref();
    this.#options.raw.once('drain', () => {
      this.#blocked = false;
      if (this.#stall !== null) clearTimeout(this.#stall);
      this.#stall = null;
      this.flush();
    });
  }

  #hold(text: string): void {
    this.#pendingBytes += Buffer.byteLength(text);
    if (this.#pendingBytes > this.#options.bufferBytesMax) this.#giveUp();
  }

  #giveUp(): void {
    if (this.#closed) return;
    this.#options.onSlow();
    this.#close();
    this.#options.raw.destroy();
  }

  #quiet(): void {
    if (this.#keepAlive !== null) clearInterval(this.#keepAlive);
    this.#keepAlive = null;
  }

  #close(): void {
    this.#closed = true;
    this.#quiet();
    this.#pending = '';
    if (this.#stall !== null) clearTimeout(this.#stall);
    this.#stall = null;
  }
}
