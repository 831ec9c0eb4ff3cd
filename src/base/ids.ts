/** Identifiers that appear in replies and logs. */
import { randomBytes } from 'node:crypto';

/** `chatcmpl-9f2c…`: a prefix and 24 hexadecimal digits, unguessable. */
export function newId(prefix: string): string {
  return `${prefix}-${randomBytes(12).toString('hex')}`;
}

/** What a client may send as `x-request-id`: printable ASCII without spaces, at most 128. */
export function isRequestId(value: string): boolean {
  return /^[\x21-\x7e]{1,128}$/.test(value);
}
