/** What other files are called that turn up where a GGUF should be. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { describeForeign } from './gguf-foreign.ts';

const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1');
const safetensors = Buffer.concat([Buffer.from([16, 0, 0, 0, 0, 0, 0, 0]), bytes('{"a":{"dtype"')]);

describe('a file that is no GGUF', () => {
  it.each([
    ['nothing', bytes(''), 'an empty file'],
    ['safetensors', safetensors, 'a safetensors file'],
    ['PyTorch', bytes('PK\x03\x04\x00\x00archive/data.pkl'), 'a PyTorch checkpoint'],
    ['a zip', bytes('PK\x03\x04\x00\x00model.gguf'), 'a zip archive'],
    ['a pickle', bytes('\x80\x02}q\x00'), 'a pickled PyTorch checkpoint'],
    ['an error page', bytes('\n<!DOCTYPE html><title>404 gone</title>'), '"404 gone"'],
    ['a git-lfs pointer', bytes('version https://git-lfs.x/v1\nsize 42\n'), '42 bytes'],
    ['JSON', bytes('{"error": "Unauthorized"}'), 'Unauthorized'],
    ['XML', bytes('<?xml version="1.0"?><Error>AccessDenied'), 'AccessDenied'],
    ['gzip', bytes('\x1f\x8b\x08\x00'), 'a gzip archive'],
    ['old GGML', bytes('tjgg\x01\x00\x00\x00'), 'before GGUF'],
    ['zeros', new Uint8Array(64), 'zeros'],
    ['text', bytes('Entry not found'), 'text: "Entry not found"'],
    ['noise', bytes('\x01\x02\x03\xfe\xff'), '01 02 03 fe ff'],
  ])('is called what it is: %s', (_, head, what) => {
    expect(describeForeign(head)).toContain(what);
  });

  it('is described whatever it is', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (head) => {
        expect(describeForeign(head).length).toBeGreaterThan(3);
      }),
    );
  });
});
