import { describe, expect, test } from 'vitest';
import { AssertionError, assert, defined, unreachable } from './assert.ts';
import {
  ERROR_TABLE,
  type ErrorCode,
  fromErrorRecord,
  isErrorCode,
  PlenumError,
  toErrorRecord,
  toPlenumError,
} from './errors.ts';

const rows = Object.entries(ERROR_TABLE);

describe('the table of errors', () => {
  test.each(rows)('%s is well formed', (code, row) => {
    expect(code).toMatch(/^[a-z]+(_[a-z]+)*$/);
    expect(Number.isInteger(row.status) && row.status >= 400 && row.status <= 599).toBe(true);
    expect(row.meaning).toMatch(/^[A-Z].*\.$/);
  });

  test.each(rows)('the type of %s agrees with its status', (code, row) => {
    const expected: Partial<Record<number, string>> = {
      401: 'authentication_error',
      403: 'permission_error',
      404: 'not_found_error',
      429: 'rate_limit_error',
    };
    const otherwise = row.status >= 500 ? 'server_error' : 'invalid_request_error';
    expect(row.type, code).toBe(expected[row.status] ?? otherwise);
  });

  test.each(rows)('%s: a request that is wrong is not worth repeating', (_code, row) => {
    if (row.type === 'invalid_request_error' && row.status !== 499) {
      expect(row.retryable).toBe(false);
    }
    if (row.status === 429) expect(row.retryable).toBe(true);
  });

  test('says what is a code', () => {
    expect(isErrorCode('queue_full')).toBe(true);
    expect(isErrorCode('toString')).toBe(false);
    expect(isErrorCode('')).toBe(false);
  });
});

describe('an error', () => {
  const error = new PlenumError('queue_full', 'The queue is full.', {
    param: 'messages',
    details: { waiting: 3, names: ['a'] },
    retryAfterMs: 1500,
  });

  test('crosses a process boundary whole', () => {
    const record = structuredClone(toErrorRecord(error));
    const back = fromErrorRecord(record);
    expect(back).toBeInstanceOf(PlenumError);
    expect(toErrorRecord(back)).toEqual(record);
    expect(back.row).toBe(ERROR_TABLE.queue_full);
    expect(back.message).toBe('The queue is full.');
  });

  test('that is ours stays what it is; anything else becomes internal', () => {
    expect(toPlenumError(error)).toBe(error);
    const cause = new TypeError('x is not a function');
    expect(toPlenumError(cause)).toMatchObject({ code: 'internal', cause });
    for (const thrown of ['text', 42, null, undefined]) {
      expect(toPlenumError(thrown)).toMatchObject({
        code: 'internal' satisfies ErrorCode,
        message: String(thrown),
      });
    }
  });
});

describe('assertions', () => {
  test('pass or throw with their message', () => {
    expect(() => assert(true, 'no')).not.toThrow();
    expect(() => assert(false, 'cells: 3')).toThrow(new AssertionError('cells: 3'));
  });

  test('a missing value is named; 0 and empty text are values', () => {
    expect(defined(0, 'count')).toBe(0);
    expect(defined('', 'text')).toBe('');
    expect(() => defined(null, 'host')).toThrow('missing: host');
    expect(() => defined(undefined, 'host')).toThrow(AssertionError);
  });

  test('a case that nobody handled is named', () => {
    expect(() => unreachable('odd' as never)).toThrow('unhandled case: "odd"');
  });
});
