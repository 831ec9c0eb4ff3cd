import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { ERROR_TABLE } from '../src/base/errors.ts';
import { ERRORS_DOC_URL, errorsDoc } from './errors-doc.ts';

const page = readFileSync(ERRORS_DOC_URL, 'utf8');
const documented = [...page.matchAll(/^\| `([a-z_]+)` \|/gm)].map((match) => match[1] ?? '');

test('every code of the table is on the page', () => {
  expect(Object.keys(ERROR_TABLE).filter((code) => !documented.includes(code))).toEqual([]);
});

test('every code of the page is in the table, once', () => {
  expect(documented.filter((code) => !Object.hasOwn(ERROR_TABLE, code))).toEqual([]);
  expect(new Set(documented).size).toBe(documented.length);
});

test('the page is what the tool writes (node tools/errors-doc.ts)', () => {
  expect(page).toBe(errorsDoc());
});
