/**
 * Connections to one target: opened when none is idle, kept when an answer leaves them usable. Owns
 * the sockets; knows no HTTP. A connection tells its user of bytes and of its end, once; an idle
 * one that ends is forgotten.
 */
import { connect, isIP, type Socket } from 'node:net';
import { connect as connectSecurely } from 'node:tls';

export interface ConnectionUser {
  /** `at`: performance.now() before anything was done with them. */
  data(bytes: Buffer, at: number): void;
  /** No more bytes come; null for an orderly end. */
  closed(error: NodeJS.ErrnoException | null): void;
}

/** More idle connections than this are closed. */
const IDLE_MAX = 4096;

export class Connections {
  readonly #url: URL;
  readonly #idle: Connection[] = [];
  #session: Buffer | null = null;

  constructor(url: URL) {
    this.#url = url;
  }

  /** An idle connection, the last used first, or a new one; `isFresh` asks for a new one. */
  take(user: ConnectionUser, { isFresh }: { readonly isFresh: boolean }): Connection {
    const now = performance.now();
    while (!isFresh) {
      const idle = this.#idle.pop();
      if (idle === undefined) break;
      if (idle.reuse(user, now)) return idle;
    }
    return new Connection(this.#open(), user, this.#idle);
  }

  close(): void {
    for (const connection of this.#idle.splice(0)) connection.destroy();
  }

  #open(): Socket {
    const { protocol, hostname, port } = this.#url;
    const host = hostname.replace(/^\[|\]$/g, '');
    if (protocol !== 'https:') return connect({ host, port: Number(port || 80), noDelay: true });
    const session = this.#session === null ? {} : { session: this.#session };
    const servername = isIP(host) === 0 ? { servername: host } : {};
    const ALPNProtocols = ['http/1.1'];
    const to = { host, port: Number(port || 443), ALPNProtocols, ...servername, ...session };
    const socket = connectSecurely(to);
    socket.setNoDelay(true);
    socket.on('session', (ticket) => {
      this.#session = ticket;
    });
    return socket;
  }
}

export class Connection {
  readonly #socket: Socket;
  readonly #pool: Connection[];
  #user: ConnectionUser | null;
  #isConnected = false;
  #isReused = false;
  #idleUntil = Number.POSITIVE_INFINITY;

  constructor(socket: Socket, user: ConnectionUser, pool: Connection[]) {
    this.#socket = socket;
    this.#user = user;
    this.#pool = pool;
    const ready = 'encrypted' in socket ? 'secureConnect' : 'connect';
    socket.once(ready, () => {
      this.#isConnected = true;
    });
    socket.on('data', (bytes: Buffer) => {
      const at = performance.now();
      if (this.#user === null) this.destroy();
      else this.#user.data(bytes, at);
    });
    socket.on('end', () => this.#ended(null));
    socket.on('error', (error) => this.#ended(error));
    socket.on('close', () => this.#ended(null));
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  /** It has carried a request before. */
  get isReused(): boolean {
    return this.#isReused;
  }

  send(text: string): void {
    this.#socket.write(text);
  }

  /** Takes an idle one into use; false where its server is about to close it or did. */
  reuse(user: ConnectionUser, now: number): boolean {
    if (now >= this.#idleUntil || this.#socket.destroyed) {
      this.#socket.destroy();
      return false;
    }
    this.#isReused = true;
    this.#user = user;
    return true;
  }

  /** Back among the idle ones, for at most `idleMsMax`. */
  release(idleMsMax: number): void {
    this.#user = null;
    if (this.#pool.length >= IDLE_MAX || this.#socket.destroyed) {
      this.#socket.destroy();
      return;
    }
    this.#idleUntil = performance.now() + idleMsMax;
    this.#pool.push(this);
  }

  /** Ends it; its user hears no more of it. */
  destroy(): void {
    this.#user = null;
    this.#socket.destroy();
    this.#forget();
  }

  #ended(error: NodeJS.ErrnoException | null): void {
    const user = this.#user;
    this.destroy();
    user?.closed(error);
  }

  #forget(): void {
    const place = this.#pool.indexOf(this);
    if (place !== -1) this.#pool.splice(place, 1);
  }
}
