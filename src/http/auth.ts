/**
 * Who may call: API keys (compared in constant time), the address that may be bound without them,
 * and the Host names that are answered when there are none (against DNS rebinding).
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { PlenumError } from '../base/errors.ts';
import type { ApiKey, HttpConfig } from './config.ts';

interface KnownKey {
  readonly name: string;
  readonly admin: boolean;
}

interface HashedKey extends KnownKey {
  readonly digest: Buffer;
}

const sha256 = (text: string): Buffer => createHash('sha256').update(text, 'utf8').digest();

export class KeyRing {
  readonly #keys: readonly HashedKey[];

  /** Throws `config_invalid` for a digest that is none and for an empty key. */
  constructor(keys: readonly ApiKey[]) {
    this.#keys = keys.map((key) => ({
      name: key.name,
      admin: key.admin === true,
      digest: digestOf(key),
    }));
  }

  get empty(): boolean {
    return this.#keys.length === 0;
  }

  /** The key in an Authorization header; throws `invalid_api_key`. */
  check(authorization: string | undefined): KnownKey {
    const match = /^Bearer +([\x21-\x7e]{1,512}) *$/i.exec(authorization ?? '');
    const presented = match?.[1];
    if (presented === undefined) {
      throw new PlenumError(
        'invalid_api_key',
        'This server needs an API key: send the header "Authorization: Bearer YOUR_KEY".',
      );
    }
    const digest = sha256(presented);
    let found: KnownKey | null = null;
    // Every key is compared, so that the time does not tell which one was near.
    for (const key of this.#keys) {
      if (timingSafeEqual(key.digest, digest)) found = key;
    }
    if (found === null) throw new PlenumError('invalid_api_key', 'The API key is not a known one.');
    return found;
  }
}

/** Throws `forbidden` for a key that may use models and not manage them. */
export function requireAdmin({ name, admin }: KnownKey): void {
  if (admin) return;
  throw new PlenumError(
    'forbidden',
    `The API key "${name}" may not manage this server: it needs \`admin: true\` in the ` +
      'configuration.',
  );
}

function digestOf(key: ApiKey): Buffer {
  if ('plain' in key) {
    if (/^[\x21-\x7e]{1,512}$/.test(key.plain)) return sha256(key.plain);
    throw new PlenumError(
      'config_invalid',
      `The API key "${key.name}" must be 1 to 512 printable ASCII characters without spaces.`,
    );
  }
  if (/^[0-9a-f]{64}$/i.test(key.sha256)) return Buffer.from(key.sha256, 'hex');
  throw new PlenumError(
    'config_invalid',
    `The sha256 of the API key "${key.name}" must be 64 hexadecimal digits.`,
  );
}

/** True for names and addresses that only this machine can reach. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '').toLowerCase();
  return (
    bare === 'localhost' ||
    bare.endsWith('.localhost') ||
    bare === '::1' ||
    /^(::ffff:)?127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(bare)
  );
}

/** Throws `bind_refused` when the address can be reached from elsewhere and nothing guards it. */
export function assertBindable(host: string, keys: readonly ApiKey[], force: boolean): void {
  if (isLoopback(host) || keys.length > 0 || force) return;
  throw new PlenumError(
    'bind_refused',
    `${host} can be reached from other machines and no API key is set: anyone there could ` +
      'use the models. Set API keys, bind to 127.0.0.1, or force it.',
    { details: { host } },
  );
}

/**
 * Without keys, a page in a browser of this machine could reach a loopback server under a name of
 * its own that resolves to 127.0.0.1. Returns a check of Host headers, or null where none is due.
 */
export function hostGuard(config: HttpConfig): ((host: string | undefined) => void) | null {
  if (config.apiKeys.length > 0 || !isLoopback(config.host)) return null;
  const allowed = new Set(config.allowedHosts.map((name) => name.toLowerCase()));
  return (header) => {
    const name = hostName(header ?? '');
    if (isLoopback(name) || allowed.has(name)) return;
    throw new PlenumError(
      'forbidden',
      `The Host header "${name.slice(0, 100)}" is not a name of this server. It is bound to ` +
        'loopback without API keys and answers to localhost, 127.0.0.1, [::1] and the ' +
        'configured host names.',
    );
  };
}

/** `localhost:8686` → `localhost`, `[::1]:8686` → `[::1]`. */
function hostName(header: string): string {
  return header.replace(/:\d{1,5}$/, '').toLowerCase();
}
