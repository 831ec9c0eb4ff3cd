/**
 * Synthetic models: a GGUF of the exact architecture, size and quantisation of a published model,
 * or a small fixture, with random weights. Its speed is the true one of the model; its words mean
 * nothing. The same spec and seed give the same bytes on every machine.
 *
 * Writes by streaming, in constant memory; a file appears under its name only when it is whole.
 */
import { createHash, randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, open, rename, rm, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { defined } from '../base/assert.ts';
import { PlenumError } from '../base/errors.ts';
import { nearest } from '../base/nearest.ts';
import { Prng } from '../base/prng.ts';
import { formatBytes } from '../base/units.ts';
import { type EncodedHeader, encodeHeader } from './gguf-encode.ts';
import { type GgmlType, ggmlBytes } from './gguf-types.ts';
import { makePool, type Pool, type PoolNeed } from './synth/blocks.ts';
import { synthMetadata } from './synth/metadata.ts';
import { quantByName, SYNTH_QUANTS, type SynthQuant } from './synth/quant.ts';
import { SHAPES, type SynthShape, shapeByName } from './synth/shapes.ts';
import { QUIET, type SynthTensor, synthTensors } from './synth/tensors.ts';
import { bpeVocabulary, wordPieceVocabulary } from './synth/vocabulary.ts';

/** What a reference to a synthetic model begins with: `synthetic:tiny`. */
export const SYNTHETIC_PREFIX = 'synthetic:';

export interface SynthSpec {
  readonly shape: SynthShape;
  readonly quant: SynthQuant;
  /** `tiny@f32`: what parses back to this. */
  readonly text: string;
}

export interface SynthOptions {
  /** Unsigned 32-bit; 1 when none is given. */
  readonly seed?: number | undefined;
  readonly onProgress?: ((progress: SynthProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface SynthProgress {
  readonly bytesWritten: number;
  readonly bytesTotal: number;
}

/**
 * Reads `llama-3.1-8b@q4_0`, `tiny` or `synthetic:tiny@q8_0`. Throws PlenumError
 * `reference_invalid`, with the nearest known name.
 */
export function parseSynthSpec(text: string): SynthSpec {
  const lower = text.trim().toLowerCase();
  const bare = lower.startsWith(SYNTHETIC_PREFIX) ? lower.slice(SYNTHETIC_PREFIX.length) : lower;
  const [name = '', quantName, ...rest] = bare.split('@');
  if (rest.length > 0 || name === '') {
    throw new PlenumError(
      'reference_invalid',
      `"${text}" is not a synthetic model: write NAME or NAME@QUANT, as in llama-3.1-8b@q4_0`,
    );
  }
  const shape = shapeByName(name);
  if (shape === undefined) throw unknown('synthetic model', name, SHAPES);
  const quant = quantByName(quantName ?? shape.defaultQuant);
  if (quant === undefined) throw unknown('quantisation', quantName ?? '', SYNTH_QUANTS);
  return { shape, quant, text: `${shape.name}@${quant.name}` };
}

function unknown(what: string, name: string, known: readonly { name: string }[]): PlenumError {
  const names = known.map((entry) => entry.name);
  const near = nearest(name, names);
  const hint = near === null ? `Known ones: ${names.join(', ')}` : `Did you mean "${near}"?`;
  return new PlenumError('reference_invalid', `No ${what} is called "${name}". ${hint}`, {
    details: { known: names },
  });
}

export interface SyntheticEntry {
  /** What `synth` and `synthetic:` take. */
  readonly spec: string;
  readonly arch: string;
  readonly fixture: boolean;
  readonly parameters: number;
  /** Of the file in its default quantisation. */
  readonly fileBytes: number;
}

/** Every shape in its default quantisation, the published ones first. */
export function listSynthetic(): readonly SyntheticEntry[] {
  return SHAPES.map((shape) => {
    const spec = parseSynthSpec(shape.name);
    const tensors = tensorsOf(spec, 0);
    const parameters = tensors.reduce((sum, tensor) => sum + elementsOf(tensor), 0);
    const weightBytes = tensors.reduce((sum, tensor) => sum + bytesOf(tensor), 0);
    return {
      spec: spec.text,
      arch: shape.arch,
      fixture: shape.fixture,
      parameters,
      fileBytes: weightBytes,
    };
  });
}

interface Blueprint extends EncodedHeader {
  readonly tensors: readonly SynthTensor[];
  readonly seed: number;
  readonly isFixture: boolean;
}

const DEFAULT_SEED = 1;

function blueprint(spec: SynthSpec, seedOption: number | undefined): Blueprint {
  const { shape, quant } = spec;
  const seed = seedOption ?? DEFAULT_SEED;
  if (!Number.isInteger(seed) || seed < 0 || seed > 0xffffffff) {
    throw new PlenumError('usage', `A seed is a whole number from 0 to 4294967295, not ${seed}`);
  }
  const vocabulary =
    shape.arch === 'bert' ? wordPieceVocabulary(shape.vocab) : bpeVocabulary(shape.vocab);
  const tensors = tensorsOf(spec, vocabulary.firstTextToken);
  const metadata = synthMetadata({ shape, quant, seed });
  for (const [key, value] of vocabulary.metadata) metadata.set(key, value);
  return { ...encodeHeader(metadata, tensors), tensors, seed, isFixture: shape.fixture };
}

const tensorsOf = ({ shape, quant }: SynthSpec, firstTextToken: number): readonly SynthTensor[] =>
  synthTensors({ shape, quant, firstTextToken });

const elementsOf = (tensor: SynthTensor): number =>
  tensor.dims.reduce((product, dim) => product * dim, 1);

const bytesOf = (tensor: SynthTensor): number => ggmlBytes(tensor.type, elementsOf(tensor));

/**
 * Writes the model to `path`, replacing what is there once the new file is whole. Throws
 * PlenumError `disk_full` before it begins, or the signal's reason when it is aborted; either way
 * nothing is left behind.
 */
export async function synthesize(
  spec: SynthSpec,
  path: string,
  options: SynthOptions = {},
): Promise<{ readonly fileBytes: number }> {
  const plan = blueprint(spec, options.seed);
  await write(plan, path, options);
  return { fileBytes: plan.fileBytes };
}

/** What `synthesize` would write at its start, and how long the file would be. */
export function syntheticHeader(spec: SynthSpec): {
  readonly header: Uint8Array;
  readonly fileBytes: number;
} {
  const { header, fileBytes } = blueprint(spec, undefined);
  return { header, fileBytes };
}

/**
 * The path of the model in `dir`: an existing file that has the very header and length, otherwise
 * a new one. Several processes may do so at once: each writes its own temporary file, and equal
 * files replace one another.
 */
export async function ensureSynthetic(
  spec: string,
  dir: string,
  options: SynthOptions = {},
): Promise<string> {
  const parsed = parseSynthSpec(spec);
  const plan = blueprint(parsed, options.seed);
  const digest = createHash('sha256').update(plan.header).digest('hex').slice(0, 12);
  const path = join(dir, `synthetic-${parsed.text.replace('@', '-')}-${digest}.gguf`);
  if (!(await isComplete(path, plan))) await write(plan, path, options);
  return path;
}

async function isComplete(path: string, plan: Blueprint): Promise<boolean> {
  const file = await open(path, 'r').catch(() => null);
  if (file === null) return false;
  try {
    const { size } = await file.stat();
    if (size !== plan.fileBytes) return false;
    const found = Buffer.alloc(plan.header.length);
    const { bytesRead } = await file.read(found, 0, found.length, 0);
    return bytesRead === found.length && found.equals(plan.header);
  } finally {
    await file.close();
  }
}

async function write(plan: Blueprint, path: string, options: SynthOptions): Promise<void> {
  const dir = dirname(path);
  await mkdir(dir, { recursive: true });
  await checkSpace(dir, plan.fileBytes);
  const temporary = `${path}.${process.pid}-${randomBytes(4).toString('hex')}.part`;
  const file = await open(temporary, 'wx');
  try {
    await writeAll(file, plan, options);
    // A name must not outlive its bytes when the power goes; a fixture is not worth the wait.
    if (!plan.isFixture) await file.datasync();
    await file.close();
    await rename(temporary, path);
  } catch (thrown) {
    await file.close().catch(() => undefined);
    await rm(temporary, { force: true });
    throw asDiskFull(thrown, dir, plan.fileBytes);
  }
}

async function checkSpace(dir: string, neededBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(dir);
  const freeBytes = bavail * bsize;
  if (freeBytes >= neededBytes) return;
  const sum = `needs ${formatBytes(neededBytes)}, ${formatBytes(freeBytes)} are free`;
  throw new PlenumError('disk_full', `Not enough disk space in ${dir}: the model ${sum}`, {
    details: { neededBytes, freeBytes },
  });
}

function asDiskFull(thrown: unknown, dir: string, neededBytes: number): unknown {
  if (!(thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOSPC')) return thrown;
  return new PlenumError('disk_full', `The disk became full while a model was written to ${dir}`, {
    details: { neededBytes },
    cause: thrown,
  });
}

const WRITE_BYTES = 8 * 1024 * 1024;

/** Writes at the end of a file, in pieces between which it can be aborted. */
class Output {
  readonly #file: FileHandle;
  readonly #bytesTotal: number;
  readonly #options: SynthOptions;
  #bytesWritten = 0;

  constructor(file: FileHandle, bytesTotal: number, options: SynthOptions) {
    this.#file = file;
    this.#bytesTotal = bytesTotal;
    this.#options = options;
  }

  async write(data: Uint8Array): Promise<void> {
    for (let at = 0; at < data.length; ) {
      this.#options.signal?.throwIfAborted();
      const length = Math.min(WRITE_BYTES, data.length - at);
      const { bytesWritten } = await this.#file.write(data, at, length, this.#bytesWritten);
      at += bytesWritten;
      this.#bytesWritten += bytesWritten;
    }
    const { onProgress } = this.#options;
    onProgress?.({ bytesWritten: this.#bytesWritten, bytesTotal: this.#bytesTotal });
  }

  async zeros(length: number): Promise<void> {
    for (let left = length; left > 0; left -= WRITE_BYTES) {
      await this.write(new Uint8Array(Math.min(left, WRITE_BYTES)));
    }
  }
}

async function writeAll(file: FileHandle, plan: Blueprint, options: SynthOptions): Promise<void> {
  const output = new Output(file, plan.fileBytes, options);
  const pools = new Pools(plan);
  await output.write(plan.header);
  for (const [index, tensor] of plan.tensors.entries()) {
    const length = bytesOf(tensor);
    await writeTensor(output, tensor, pools);
    const begin = defined(plan.offsets[index], 'offset');
    const end = plan.offsets[index + 1] ?? plan.fileBytes - plan.header.length;
    await output.zeros(end - begin - length);
  }
}

async function writeTensor(output: Output, tensor: SynthTensor, pools: Pools): Promise<void> {
  const { fill, name } = tensor;
  if (fill.kind === 'values') return output.write(littleEndian(fill.values));
  const prng = pools.prngOf(name);
  if (fill.kind === 'vector') {
    const spread = fill.spread * Math.sqrt(3);
    const length = defined(tensor.dims[0], 'length');
    const next = (): number => fill.mean + (2 * prng.float() - 1) * spread;
    return output.write(littleEndian(Float32Array.from({ length }, next)));
  }
  const rowBytes = ggmlBytes(tensor.type, defined(tensor.dims[0], 'row length'));
  const quietBytes = fill.quietRows * rowBytes;
  if (quietBytes > 0) {
    const quiet = pools.get({ type: tensor.type, std: fill.std * QUIET });
    await writeWindow(output, quiet, { from: prng.int(0, quiet.cells - 1), length: quietBytes });
  }
  const pool = pools.get({ type: tensor.type, std: fill.std });
  const from = prng.int(0, pool.cells - 1);
  await writeWindow(output, pool, { from, length: bytesOf(tensor) - quietBytes });
}

/** `length` bytes of the pool from the cell `from`, round and round. */
async function writeWindow(
  output: Output,
  { bytes, cellBytes }: Pool,
  { from, length }: { readonly from: number; readonly length: number },
): Promise<void> {
  let at = from * cellBytes;
  for (let left = length; left > 0; ) {
    const piece = Math.min(left, bytes.length - at);
    await output.write(bytes.subarray(at, at + piece));
    left -= piece;
    at = 0;
  }
}

function littleEndian(values: Float32Array): Uint8Array {
  const bytes = new Uint8Array(values.length * 4);
  const view = new DataView(bytes.buffer);
  for (const [index, value] of values.entries()) view.setFloat32(index * 4, value, true);
  return bytes;
}

/** The pools of one file, made when first used. */
class Pools {
  readonly #pools = new Map<string, Pool>();
  readonly #seed: number;
  readonly #rowsMax: ReadonlyMap<string, number>;

  constructor({ tensors, seed }: Blueprint) {
    this.#seed = seed;
    const rowsMax = new Map<string, number>();
    for (const { type, fill, dims } of tensors) {
      if (fill.kind !== 'random') continue;
      const key = poolKey(type, fill.std);
      rowsMax.set(key, Math.max(rowsMax.get(key) ?? 0, dims[1] ?? 0));
    }
    this.#rowsMax = rowsMax;
  }

  get({ type, std }: Pick<PoolNeed, 'type' | 'std'>): Pool {
    const key = poolKey(type, std);
    const known = this.#pools.get(key);
    if (known !== undefined) return known;
    const rows = this.#rowsMax.get(key) ?? 0;
    const pool = makePool({ type, std, rows, seed: this.#seedOf(key) });
    this.#pools.set(key, pool);
    return pool;
  }

  prngOf(tensorName: string): Prng {
    return new Prng(this.#seedOf(tensorName));
  }

  #seedOf(text: string): number {
    return createHash('sha256').update(`${this.#seed} ${text}`).digest().readUInt32LE(0);
  }
}

const poolKey = (type: GgmlType, std: number): string => `${type.name} ${std}`;
