import { expect, test } from 'vitest';
import { isRequestId, newId } from './ids.ts';

test('an id has its prefix, 24 hexadecimal digits, and is never given twice', () => {
  const ids = Array.from({ length: 1000 }, () => newId('chatcmpl'));
  for (const id of ids) expect(id).toMatch(/^chatcmpl-[0-9a-f]{24}$/);
  expect(new Set(ids).size).toBe(1000);
});

test.each([
  ['a', true],
  ['req_123-ABC.def:7/8', true],
  ['x'.repeat(128), true],
  [newId('req'), true],
  ['', false],
  ['x'.repeat(129), false],
  ['two words', false],
  ['line\nbreak', false],
  ['trailing\n', false],
  ['tab\t', false],
  ['ünï', false],
  ['\u007f', false],
  ['\u0000', false],
])('%j as a request id: %s', (value, valid) => {
  expect(isRequestId(value)).toBe(valid);
});
