/**
 * Makes up a vocabulary of any size that the engine's tokenizers accept: byte-level BPE for
 * decoders, WordPiece for encoders. Any UTF-8 text survives the BPE one, because every byte is a
 * token. Words are syllables of a made-up language, so that random output can be read.
 */
import { assert, defined } from '../../base/assert.ts';
import { Prng } from '../../base/prng.ts';
import type { EncodableValue } from '../gguf-encode.ts';

export interface Vocabulary {
  readonly metadata: ReadonlyMap<string, EncodableValue>;
  /** Control tokens and those bytes that are no printable text: ids below this are no words. */
  readonly firstTextToken: number;
}

/** Fewest tokens that hold the bytes, the control tokens and some words. */
export const VOCAB_MIN = 512;

const TOKEN_NORMAL = 1;
const TOKEN_CONTROL = 3;

const CONTROL = ['<|pad|>', '<|im_start|>', '<|im_end|>'] as const;
const PAD = 0;
const BOS = 1;
const EOS = 2;

/** ChatML: the convention whose control tokens the vocabulary has. */
const CHAT_TEMPLATE = [
  "{%- for message in messages -%}{{ '<|im_start|>' + message['role'] + '\\n' }}",
  "{{- message['content'] + '<|im_end|>' + '\\n' }}{%- endfor -%}",
  "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}",
].join('');

/**
 * The printable stand-in of a byte, by the convention of byte-level BPE (GPT-2): visible Latin-1
 * characters stand for themselves, the other bytes for U+0100 and following.
 */
export function byteSymbols(): readonly string[] {
  const visible = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) =>
    visible(byte) ? String.fromCharCode(byte) : String.fromCharCode(next++),
  );
}

/** Byte-level BPE of `size` tokens. Ids: control, unprintable bytes, printable bytes, words. */
export function bpeVocabulary(size: number): Vocabulary {
  assert(size >= VOCAB_MIN, `a vocabulary has at least ${VOCAB_MIN} tokens`);
  const symbols = byteSymbols();
  const isText = (byte: number): boolean => byte === 0x0a || (byte >= 0x20 && byte < 0x7f);
  const order = Array.from({ length: 256 }, (_, byte) => byte);
  const hidden = order.filter((byte) => !isText(byte));
  const bytes = [...hidden, ...order.filter(isText)].map((byte) => defined(symbols[byte], 'byte'));
  const tokens: string[] = [...CONTROL, ...bytes];
  const merges: string[] = [];
  for (const [left, right] of wordMerges(defined(symbols[0x20], 'space'))) {
    if (tokens.length === size) break;
    tokens.push(left + right);
    merges.push(`${left} ${right}`);
  }
  assert(tokens.length === size, `no more words for a vocabulary of ${size}`);
  const types = tokens.map((_, id) => (id < CONTROL.length ? TOKEN_CONTROL : TOKEN_NORMAL));
  const metadata = new Map<string, EncodableValue>([
    ['tokenizer.ggml.model', { type: 'string', value: 'gpt2' }],
    ['tokenizer.ggml.pre', { type: 'string', value: 'smollm' }],
    ['tokenizer.ggml.tokens', { type: 'strings', values: tokens }],
    ['tokenizer.ggml.token_type', { type: 'numbers', of: 'i32', values: types }],
    ['tokenizer.ggml.merges', { type: 'strings', values: merges }],
    ['tokenizer.ggml.bos_token_id', { type: 'u32', value: BOS }],
    ['tokenizer.ggml.eos_token_id', { type: 'u32', value: EOS }],
    ['tokenizer.ggml.padding_token_id', { type: 'u32', value: PAD }],
    ['tokenizer.ggml.add_bos_token', { type: 'bool', value: false }],
    ['tokenizer.ggml.add_space_prefix', { type: 'bool', value: false }],
    ['tokenizer.chat_template', { type: 'string', value: CHAT_TEMPLATE }],
  ]);
  return { metadata, firstTextToken: CONTROL.length + hidden.length };
}

/**
 * Every word is two tokens that exist before it. Their order is the rank of the merge: a word
 * that begins with a space is completed before its syllables can join to anything else, so that
 * each can be reached.
 */
function* wordMerges(space: string): Generator<readonly [string, string]> {
  const syllables = shuffledSyllables();
  for (const syllable of syllables) yield [syllable.charAt(0), syllable.charAt(1)];
  for (const syllable of syllables) yield [space, syllable];
  const pairs = shuffledPairs(syllables.length);
  const at = (index: number): string => defined(syllables[index], 'syllable');
  for (const [first, second] of pairs) yield [space + at(first), at(second)];
  for (const [first, second] of pairs) yield [at(first), at(second)];
  for (let third = 0; third < syllables.length; third++) {
    for (const [first, second] of pairs) yield [space + at(first) + at(second), at(third)];
  }
}

function shuffledSyllables(): readonly string[] {
  const consonants = [...'bdfghjklmnprstvwz'];
  const vowels = [...'aeiou'];
  return shuffled(consonants.flatMap((first) => vowels.map((second) => first + second)));
}

function shuffledPairs(count: number): readonly (readonly [number, number])[] {
  const indices = Array.from({ length: count }, (_, index) => index);
  return shuffled(indices.flatMap((a) => indices.map((b) => [a, b] as const)));
}

/** Always the same order: the vocabulary belongs to the format, not to a seed. */
function shuffled<T>(items: readonly T[]): T[] {
  const prng = new Prng(20_000);
  const out = [...items];
  for (let i = out.length - 1; i > 0; i--) {
    const j = prng.int(0, i);
    const held = defined(out[i], 'item');
    out[i] = defined(out[j], 'item');
    out[j] = held;
  }
  return out;
}

const WORDPIECE_CONTROL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'] as const;

/** In the engine's WordPiece a word's first piece begins with U+2581, the others with nothing. */
const WORD_START = '\u2581';

/** WordPiece of `size` tokens: control, single characters at both places, then words. */
export function wordPieceVocabulary(size: number): Vocabulary {
  assert(size >= VOCAB_MIN, `a vocabulary has at least ${VOCAB_MIN} tokens`);
  const letters = Array.from({ length: 0x7f - 0x21 }, (_, i) => String.fromCharCode(0x21 + i));
  const lower = letters.filter((letter) => letter === letter.toLowerCase());
  const tokens: string[] = [...WORDPIECE_CONTROL, ...lower.map((letter) => WORD_START + letter)];
  tokens.push(...lower);
  for (const [left, right] of wordMerges(WORD_START)) {
    if (tokens.length === size) break;
    tokens.push(left + right);
  }
  assert(tokens.length === size, `no more words for a vocabulary of ${size}`);
  const control = WORDPIECE_CONTROL.length;
  const types = tokens.map((_, id) => (id < control ? TOKEN_CONTROL : TOKEN_NORMAL));
  const metadata = new Map<string, EncodableValue>([
    ['tokenizer.ggml.model', { type: 'string', value: 'bert' }],
    ['tokenizer.ggml.tokens', { type: 'strings', values: tokens }],
    ['tokenizer.ggml.token_type', { type: 'numbers', of: 'i32', values: types }],
    ['tokenizer.ggml.token_type_count', { type: 'u32', value: 2 }],
    ['tokenizer.ggml.padding_token_id', { type: 'u32', value: 0 }],
    ['tokenizer.ggml.unknown_token_id', { type: 'u32', value: 1 }],
    ['tokenizer.ggml.cls_token_id', { type: 'u32', value: 2 }],
    ['tokenizer.ggml.bos_token_id', { type: 'u32', value: 2 }],
    ['tokenizer.ggml.seperator_token_id', { type: 'u32', value: 3 }],
    ['tokenizer.ggml.eos_token_id', { type: 'u32', value: 3 }],
    ['tokenizer.ggml.mask_token_id', { type: 'u32', value: 4 }],
  ]);
  return { metadata, firstTextToken: control };
}
