import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PlenumError } from '../base/errors.ts';
import {
  formatReference,
  modelId,
  parseReference,
  redactUrl,
  referenceId,
  splitSet,
} from './reference.ts';

const main = { revision: 'main' };

test.each([
  ['starter', { kind: 'catalogue', name: 'starter' }],
  ['org/repo', { kind: 'hub-quant', repo: 'org/repo', ...main, quant: null }],
  ['org/repo:q4_k_m', { kind: 'hub-quant', repo: 'org/repo', ...main, quant: 'Q4_K_M' }],
  ['hf:org/re.po-1:Q8_0', { kind: 'hub-quant', repo: 'org/re.po-1', ...main, quant: 'Q8_0' }],
  ['hf://org/repo', { kind: 'hub-quant', repo: 'org/repo', ...main, quant: null }],
  ['org/repo/x.gguf', { kind: 'hub-file', repo: 'org/repo', ...main, path: 'x.gguf' }],
  ['hf:org/repo/sub/x.gguf', { kind: 'hub-file', repo: 'org/repo', ...main, path: 'sub/x.gguf' }],
  ['org/repo@v1:F16', { kind: 'hub-quant', repo: 'org/repo', revision: 'v1', quant: 'F16' }],
  [
    'org/repo@ab12/x.gguf',
    { kind: 'hub-file', repo: 'org/repo', revision: 'ab12', path: 'x.gguf' },
  ],
  [
    'https://huggingface.co/org/repo/blob/main/x.gguf',
    { kind: 'hub-file', repo: 'org/repo', ...main, path: 'x.gguf' },
  ],
  [
    'https://huggingface.co/org/repo/resolve/ab12/s/x.gguf?download=true',
    { kind: 'hub-file', repo: 'org/repo', revision: 'ab12', path: 's/x.gguf' },
  ],
  ['https://hf.co/org/repo', { kind: 'hub-quant', repo: 'org/repo', ...main, quant: null }],
  ['https://host.example/a/x.gguf', { kind: 'url', url: 'https://host.example/a/x.gguf' }],
  ['http://host.example:8/x.GGUF?k=1#f', { kind: 'url', url: 'http://host.example:8/x.GGUF?k=1' }],
  ['./x.gguf', { kind: 'local', path: './x.gguf' }],
  ['../models/x', { kind: 'local', path: '../models/x' }],
  ['/abs/x.gguf', { kind: 'local', path: '/abs/x.gguf' }],
  ['~/x.gguf', { kind: 'local', path: '~/x.gguf' }],
  ['x.gguf', { kind: 'local', path: 'x.gguf' }],
  ['models/x y.gguf', { kind: 'local', path: 'models/x y.gguf' }],
  ['file:///a/x%20y.gguf', { kind: 'local', path: '/a/x y.gguf' }],
  ['synthetic:tiny', { kind: 'synthetic', spec: 'tiny' }],
  ['synthetic:Llama-3.1-8B@Q4_0', { kind: 'synthetic', spec: 'llama-3.1-8b@q4_0' }],
  ['llama-3.1-8b@q4_0', { kind: 'synthetic', spec: 'llama-3.1-8b@q4_0' }],
])('%s is understood', (text, expected) => {
  expect(parseReference(text)).toEqual(expected);
});

test.each(
  [
    '',
    ' starter',
    'starter\n',
    'nonsense',
    'org/',
    '/',
    'a/b/c',
    'org/repo:',
    'org/repo/',
    'org/repo/x.safetensors',
    'org/../x.gguf:Q4',
    'org/repo/../x.gguf',
    'org/repo/x.gguf?download=1.gguf',
    'ftp://host.example/x.gguf',
    'https://host.example/x.bin',
    'https://',
    'https://huggingface.co/',
    'synthetic:',
    'synthetic:a b',
    `${'x'.repeat(5000)}.gguf`,
  ].filter((text) => text !== '/'),
)('%j is refused with the accepted forms', (text) => {
  const attempt = () => parseReference(text);
  expect(attempt).toThrow(PlenumError);
  expect(attempt).toThrow(/Accepted are:.*org\/repo:Q4_K_M.*\.\/file\.gguf.*synthetic:tiny/s);
});

test('a name that is nearly in the catalogue is recognised', () => {
  expect(() => parseReference('startre')).toThrow(/Did you mean starter\?/);
});

test('the canonical spelling parses to the same reference', () => {
  const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,12}$/);
  const quant = fc.option(fc.constantFrom('Q4_K_M', 'IQ4_XS', 'BF16'), { nil: null });
  const reference = fc.oneof(
    fc.record({
      kind: fc.constant('hub-quant' as const),
      repo: fc.tuple(name, name).map(([a, b]) => `${a}x/${b}x`),
      revision: fc.constantFrom('main', 'v1.0', 'abcdef'),
      quant,
    }),
    fc.record({
      kind: fc.constant('hub-file' as const),
      repo: fc.tuple(name, name).map(([a, b]) => `${a}x/${b}x`),
      revision: fc.constantFrom('main', 'v1.0'),
      path: name.map((n) => `x${n}.gguf`),
    }),
    name.map((spec) => ({ kind: 'synthetic' as const, spec: spec.toLowerCase() })),
  );
  fc.assert(
    fc.property(reference, (given) => {
      expect(parseReference(formatReference(given))).toEqual(given);
    }),
  );
});

test('anything at all either parses or is refused by its code', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 60 }), (text) => {
      try {
        formatReference(parseReference(text));
      } catch (error) {
        expect(error).toMatchObject({ name: 'PlenumError', code: 'reference_invalid' });
      }
    }),
  );
});

test('credentials of an address are in no spelling of it', () => {
  const reference = parseReference('https://user:pass@host.example/x.gguf?token=abc');
  expect(formatReference(reference)).toBe('https://host.example/x.gguf?token=abc');
  expect(redactUrl('https://user:pass@host.example/x.gguf?token=abc')).toBe(
    'https://host.example/x.gguf',
  );
});

test('a part of a set names the whole set in order', () => {
  expect(splitSet('a/m-00002-of-00003.gguf')).toEqual([
    'a/m-00001-of-00003.gguf',
    'a/m-00002-of-00003.gguf',
    'a/m-00003-of-00003.gguf',
  ]);
  expect(splitSet('m.gguf')).toEqual(['m.gguf']);
  expect(splitSet('m-00004-of-00003.gguf')).toEqual(['m-00004-of-00003.gguf']);
});

test('ids are safe in an address and come from the file', () => {
  const file = parseReference('org/repo:Q4_K_M');
  expect(referenceId(file, 'Llama 3-Q4_K_M-00001-of-00002.gguf')).toBe('Llama-3-Q4_K_M');
  expect(referenceId(parseReference('starter'), 'x.gguf')).toBe('starter');
  expect(modelId('///')).toBe('model');
  fc.assert(
    fc.property(fc.string(), (text) => {
      expect(modelId(text)).toMatch(/^[\w.-]{1,128}$/);
    }),
  );
});
