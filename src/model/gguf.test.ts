/**
 * Headers that are right, headers that are wrong in every way that files go wrong, and files on
 * disk, with another reader of the format as a witness.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gguf } from '@huggingface/gguf';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PlenumError } from '../base/errors.ts';
import {
  type GgufHeader,
  inspectGguf,
  metadataList,
  metadataNumber,
  metadataString,
  readGguf,
} from './gguf.ts';
import { isGgufArray } from './gguf-cursor.ts';
import { type EncodableValue, encodeHeader } from './gguf-encode.ts';
import { memorySource } from './gguf-source.ts';
import { SPECIAL_TOKEN_LISTS, specialTokensOf } from './gguf-specials.ts';
import { GGML_TYPES, ggmlTypeByName } from './gguf-types.ts';
import { ensureSynthetic } from './synth.ts';

const typeCalled = (name: string) => {
  const type = ggmlTypeByName(name);
  if (type === undefined) throw new Error(name);
  return type;
};

const TENSORS = [
  { name: 'token_embd.weight', dims: [64, 10], type: typeCalled('F32') },
  { name: 'blk.0.ffn_up.weight', dims: [64, 32], type: typeCalled('Q4_0') },
  { name: 'output_norm.weight', dims: [7], type: typeCalled('F32') },
];

function model(
  metadata: Record<string, EncodableValue> = { 'general.name': { type: 'string', value: 'm' } },
  tensors = TENSORS,
): Uint8Array {
  const { header, fileBytes } = encodeHeader(new Map(Object.entries(metadata)), tensors);
  const file = new Uint8Array(fileBytes);
  file.set(header);
  return file;
}

const read = (bytes: Uint8Array): Promise<GgufHeader> => readGguf(memorySource(bytes));

async function refusal(work: Promise<unknown>): Promise<PlenumError> {
  const thrown = await work.then(
    () => new Error('nothing was thrown'),
    (error: unknown) => error,
  );
  if (thrown instanceof PlenumError) return thrown;
  throw thrown;
}

/** Writes a number over the bytes after the first occurrence of `text`. */
function patched(bytes: Uint8Array, text: string, offset: number, value: number): Uint8Array {
  const copy = Buffer.from(bytes);
  copy.writeUInt32LE(value, copy.indexOf(text) + text.length + offset);
  return copy;
}

describe('a header', () => {
  it('gives metadata of every type', async () => {
    const header = await read(
      model({
        a: { type: 'u8', value: 200 },
        b: { type: 'i8', value: -3 },
        c: { type: 'u16', value: 65535 },
        d: { type: 'i16', value: -32768 },
        e: { type: 'u32', value: 4294967295 },
        f: { type: 'i32', value: -5 },
        g: { type: 'f32', value: 0.5 },
        h: { type: 'f64', value: 0.1 },
        i: { type: 'u64', value: 2 ** 52 },
        j: { type: 'i64', value: -9 },
        k: { type: 'bool', value: true },
        l: { type: 'string', value: 'grüß' },
        m: { type: 'strings', values: ['x', '', 'yz'] },
        n: { type: 'numbers', of: 'i32', values: [1, -2] },
      }),
    );
    expect(Object.fromEntries(header.metadata)).toEqual({
      a: 200,
      b: -3,
      c: 65535,
      d: -32768,
      e: 4294967295,
      f: -5,
      g: 0.5,
      h: 0.1,
      i: 2 ** 52,
      j: -9,
      k: true,
      l: 'grüß',
      m: { type: 'string', length: 3, values: ['x', '', 'yz'] },
      n: { type: 'i32', length: 2, values: [1, -2] },
    });
    expect(metadataNumber(header, 'a')).toBe(200);
    expect(metadataNumber(header, 'l')).toBeNull();
    expect(metadataString(header, 'l')).toBe('grüß');
    expect(metadataList(header, 'n')).toEqual([1, -2]);
  });

  it('gives the tensor table with exact places and sizes', async () => {
    const bytes = model();
    const header = await read(bytes);
    const [embedding, up, norm] = header.tensors;
    expect(header).toMatchObject({ version: 3, alignment: 32, split: null });
    expect(header.dataOffset % 32).toBe(0);
    expect(embedding).toMatchObject({ dims: [64, 10], elements: 640, bytes: 2560 });
    expect(embedding?.offset).toBe(header.dataOffset);
    expect(up).toMatchObject({ offset: header.dataOffset + 2560, bytes: 64 * 18 });
    expect(norm).toMatchObject({ offset: header.dataOffset + 2560 + 1152, bytes: 28 });
    expect(header.expectedBytes).toBe(bytes.length - 4);
  });

  it('keeps a long list only when it is asked for', async () => {
    const values = Array.from({ length: 5000 }, (_, i) => `t${i}`);
    const types = values.map((_, i) => (i < 2 ? 3 : 1));
    const bytes = model({
      'tokenizer.ggml.tokens': { type: 'strings', values },
      'tokenizer.ggml.token_type': { type: 'numbers', of: 'i32', values: types },
    });
    const summary = await read(bytes);
    expect(summary.metadata.get('tokenizer.ggml.tokens')).toEqual({
      type: 'string',
      length: 5000,
      values: null,
    });
    expect(specialTokensOf(summary)).toBeNull();
    const whole = await readGguf(memorySource(bytes), { wholeLists: SPECIAL_TOKEN_LISTS });
    expect(metadataList(whole, 'tokenizer.ggml.tokens')).toEqual(values);
    expect(specialTokensOf(whole)).toEqual(['t0', 't1']);
  });

  it('longer than the first read is read on', async () => {
    const values = Array.from({ length: 200_000 }, (_, i) => `token number ${i}`);
    const bytes = model({ list: { type: 'strings', values } });
    const reads: number[] = [];
    const source = {
      size: null,
      read: async (offset: number, length: number) => {
        reads.push(offset);
        return bytes.subarray(offset, offset + length);
      },
    };
    const header = await readGguf(source);
    expect(header.tensors).toHaveLength(3);
    expect(reads).toEqual([0, 1024 * 1024, 4 * 1024 * 1024]);
  });

  it('of version 2 is read', async () => {
    const bytes = Buffer.from(model());
    bytes.writeUInt32LE(2, 4);
    expect((await read(bytes)).version).toBe(2);
  });

  it('survives a round trip with arbitrary metadata and tensors', async () => {
    const scalar: fc.Arbitrary<EncodableValue> = fc.oneof(
      fc.string({ unit: 'binary' }).map((value) => ({ type: 'string' as const, value })),
      fc.boolean().map((value) => ({ type: 'bool' as const, value })),
      fc.nat().map((value) => ({ type: 'u32' as const, value })),
      fc.double({ noNaN: true }).map((value) => ({ type: 'f64' as const, value })),
    );
    const tensor = fc.record({
      type: fc.constantFrom(...GGML_TYPES),
      blocks: fc.integer({ min: 1, max: 3 }),
      rows: fc.integer({ min: 1, max: 3 }),
    });
    const metadata = fc.dictionary(fc.stringMatching(/^[a-z.]{1,9}$/), scalar, { maxKeys: 8 });
    await fc.assert(
      fc.asyncProperty(metadata, fc.array(tensor, { maxLength: 6 }), async (keys, shapes) => {
        const tensors = shapes.map(({ type, blocks, rows }, i) => ({
          name: `t${i}`,
          dims: [blocks * type.blockSize, rows],
          type,
        }));
        const header = await read(model(keys, tensors));
        const values = Object.entries(keys).map(([key, { type, ...value }]) => [
          key,
          type === 'strings' || type === 'numbers' ? null : Object.values(value)[0],
        ]);
        expect([...header.metadata]).toEqual(values);
        expect(header.tensors.map(({ name, dims, type }) => ({ name, dims, type }))).toEqual(
          tensors,
        );
      }),
    );
  });
});

describe('a file that is wrong', () => {
  it('is truncated wherever it is cut, never anything else', async () => {
    const bytes = model();
    const { expectedBytes } = await read(bytes);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 4, max: expectedBytes - 1 }), async (length) => {
        const error = await refusal(read(bytes.subarray(0, length)));
        expect(error.code).toBe('file_truncated');
      }),
    );
  });

  it('names the first tensor that is cut, and the sum', async () => {
    const bytes = model();
    const { tensors, expectedBytes } = await read(bytes);
    const cut = (tensors[1]?.offset ?? 0) + 5;
    const error = await refusal(read(bytes.subarray(0, cut)));
    expect(error.message).toContain('blk.0.ffn_up.weight');
    expect(error.details).toEqual({
      expectedBytes,
      foundBytes: cut,
      firstCutTensor: 'blk.0.ffn_up.weight',
    });
  });

  it('with any byte of its header changed gives a header or one of our errors', async () => {
    const bytes = model({ 'general.name': { type: 'string', value: 'm' } });
    const { dataOffset } = await read(bytes);
    const codes = ['file_corrupt', 'file_truncated', 'file_foreign', 'model_unsupported'];
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(dataOffset - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        async (changes) => {
          const copy = Uint8Array.from(bytes);
          for (const [at, value] of changes) copy[at] = value;
          const result = await read(copy).catch((error: unknown) => error);
          if (result instanceof Error) {
            expect(result).toBeInstanceOf(PlenumError);
            expect(codes).toContain((result as PlenumError).code);
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it.each([
    ['a shape that is no row of blocks', patched(model(), 'ffn_up.weight', 4, 65), '65 elements'],
    ['a tensor elsewhere', patched(model(), 'ffn_up.weight', 24, 64), 'begins at 64'],
    ['a list of lists', patched(listModel(), 'list', 4, 9), 'list of lists'],
    ['an unknown value type', patched(listModel(), 'list', 0, 99), 'unknown value type 99'],
    ['a length no file has', patched(listModel(), 'list', 12, 0x7fffffff), 'no file can hold'],
  ])('is corrupt: %s', async (_, bytes, why) => {
    const error = await refusal(read(bytes));
    expect(error.code).toBe('file_corrupt');
    expect(error.message).toContain(why);
  });

  it('refuses two tensors or keys of one name, and an alignment that is none', async () => {
    const twice = [TENSORS[2], TENSORS[2]].filter((tensor) => tensor !== undefined);
    expect((await refusal(read(model({}, twice)))).message).toContain('there twice');
    const alignment = { 'general.alignment': { type: 'u32', value: 24 } } as const;
    expect((await refusal(read(model(alignment)))).message).toContain('power of two');
  });

  it.each([
    [1, 'model_unsupported', 'too old'],
    [4, 'model_unsupported', 'newer'],
    [0x03000000, 'file_foreign', 'big-endian'],
  ])('of version %i is %s', async (version, code, why) => {
    const bytes = Buffer.from(model());
    bytes.writeUInt32LE(version, 4);
    const error = await refusal(read(bytes));
    expect(error.code).toBe(code);
    expect(error.message).toContain(why);
  });

  it('with a tensor type of the past or the future is unsupported by name', async () => {
    const past = await refusal(read(patched(model(), 'ffn_up.weight', 20, 31)));
    expect(past.code).toBe('model_unsupported');
    expect(past.message).toContain('Q4_0_4_4, replaced by Q4_0');
    const future = await refusal(read(patched(model(), 'ffn_up.weight', 20, 77)));
    expect(future.message).toContain('77');
  });
});

function listModel(): Uint8Array {
  return model({ list: { type: 'numbers', of: 'i32', values: [1, 2, 3] } });
}

describe('files on disk', () => {
  let dir = '';
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'plenum-gguf-'));
  });
  afterAll(() => rm(dir, { recursive: true, force: true }));

  const part = (index: number, count: number, tensors = TENSORS): Uint8Array =>
    model(
      {
        'split.no': { type: 'u16', value: index },
        'split.count': { type: 'u16', value: count },
        'split.tensors.count': { type: 'i32', value: 3 },
      },
      tensors,
    );

  async function writeParts(name: string, present: readonly number[]): Promise<string> {
    for (const index of present) {
      const file = join(dir, `${name}-0000${index + 1}-of-00003.gguf`);
      await writeFile(file, part(index, 3, TENSORS.slice(index, index + 1)));
    }
    return join(dir, `${name}-0000${(present[0] ?? 0) + 1}-of-00003.gguf`);
  }

  it('are read as memory is', async () => {
    const path = join(dir, 'm.gguf');
    await writeFile(path, model());
    const header = await inspectGguf(path);
    expect(header).toEqual({ ...(await read(model())), files: [path] });
  });

  it('are read as another reader reads them', async () => {
    const path = await ensureSynthetic('tiny-gpt-oss@mxfp4', dir);
    const header = await inspectGguf(path, { wholeLists: SPECIAL_TOKEN_LISTS });
    const { metadata, tensorInfos, tensorDataOffset } = await gguf(path, { allowLocalFile: true });
    expect(header.dataOffset).toBe(Number(tensorDataOffset));
    expect(
      header.tensors.map(({ name, dims, type, offset }) => [name, dims, type.id, offset]),
    ).toEqual(
      tensorInfos.map(({ name, shape, dtype, offset }) => [
        name,
        shape.map(Number),
        dtype,
        header.dataOffset + Number(offset),
      ]),
    );
    for (const [key, value] of header.metadata) {
      const theirs: unknown = Reflect.get(metadata, key);
      expect(isGgufArray(value) ? value.values : value, key).toEqual(theirs);
    }
  });

  it('that are parts of one model are read together', async () => {
    const path = await writeParts('whole', [0, 1, 2]);
    const header = await inspectGguf(path);
    expect(header.split).toEqual({ index: 0, count: 3 });
    expect(header.files).toHaveLength(3);
    expect(header.tensors.map(({ name }) => name)).toEqual(TENSORS.map(({ name }) => name));
  });

  it('that lack a part name the missing one', async () => {
    const error = await refusal(inspectGguf(await writeParts('gap', [0, 1])));
    expect(error.code).toBe('file_not_found');
    expect(error.message).toContain('gap-00003-of-00003.gguf');
  });

  it('that are a later part name the first one', async () => {
    const error = await refusal(inspectGguf(await writeParts('later', [1])));
    expect(error.code).toBe('file_foreign');
    expect(error.message).toContain('later-00001-of-00003.gguf');
  });

  it('that do not exist or are directories are named', async () => {
    expect((await refusal(inspectGguf(join(dir, 'nothing.gguf')))).code).toBe('file_not_found');
    const error = await refusal(inspectGguf(dir));
    expect(error.code).toBe('file_foreign');
    expect(error.message).toContain('directory');
  });
});
