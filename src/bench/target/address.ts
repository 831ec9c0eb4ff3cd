/** Addresses and names of targets, as a user writes them. Pure. */
import { PlenumError } from '../../base/errors.ts';

/** `NAME=rest`; the name alone is short enough for a table. Throws `usage`. */
export function splitNamed(text: string, flag: string): { name: string; rest: string } {
  const [, name, rest] = /^([A-Za-z0-9][\w.+-]{0,23})=([\s\S]+)$/.exec(text) ?? [];
  if (name !== undefined && rest !== undefined) return { name, rest: rest.trim() };
  const example = flag === '--spawn' ? "a='server --port {port}'" : 'a=http://127.0.0.1:8080';
  const rule = 'a name of at most 24 letters, digits and . + - _, then =';
  throw new PlenumError('usage', `${flag} "${text}" lacks its name; write ${rule}, as ${example}`);
}

/** Without /v1, which every path begins with, and without secrets. Throws `usage`. */
export function baseUrl(text: string, flag: string): string {
  const wrong = (what: string): PlenumError =>
    new PlenumError('usage', `${flag} "${text}": ${what}; one is http://127.0.0.1:8080`);
  if (!URL.canParse(text)) throw wrong('not an address');
  const url = new URL(text);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw wrong('not http or https');
  if (url.username !== '' || url.password !== '') {
    const url = text.replace(/\/\/[^@]*@/, '//');
    throw new PlenumError(
      'usage',
      `${flag} ${url} holds a password; name a variable with --api-key-env instead`,
    );
  }
  if (url.search !== '' || url.hash !== '') throw wrong('no query and no fragment may follow');
  return `${url.origin}${url.pathname}`.replace(/\/+$/, '').replace(/\/v1$/, '');
}
