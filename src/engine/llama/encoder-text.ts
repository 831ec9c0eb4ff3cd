/**
 * From an input to the tokens that an encoder was trained on: special tokens at the ends, a pair
 * joined as its family does it. A user's text never becomes a special token. It computes nothing.
 */
import { defined } from '../../base/assert.ts';
import type { EncodeInput } from '../../wire/encode.ts';
import type { Binding, Pointer } from './binding.ts';
import { readMeta } from './memory.ts';
import type { Vocab } from './vocab.ts';

/** Written by converters of rerankers that were trained on a prompt, with two placeholders. */
const TEMPLATE_NAME = 'rerank';
const QUERY = '{query}';
const DOCUMENT = '{document}';

interface Marks {
  readonly start: readonly number[];
  readonly between: readonly number[];
  readonly end: readonly number[];
}

export class EncoderText {
  readonly #vocab: Vocab;
  readonly #template: string | null;
  readonly #marks: Marks;

  constructor(binding: Binding, model: Pointer, vocab: Vocab) {
    this.#vocab = vocab;
    this.#template = binding.modelTemplate(model, TEMPLATE_NAME);
    this.#marks = marksOf(binding, model);
  }

  async tokenize(input: EncodeInput): Promise<Int32Array> {
    switch (input.kind) {
      case 'tokens':
        return input.tokens;
      case 'text':
        return this.#vocab.tokenize(input.text, { addSpecial: true, parseSpecial: false });
      case 'pair':
        return this.#template === null ? this.#marked(input) : this.#templated(input);
    }
  }

  async #marked({ query, document }: EncodeInput & { kind: 'pair' }): Promise<Int32Array> {
    const { start, between, end } = this.#marks;
    const [left, right] = await Promise.all([this.#plain(query), this.#plain(document)]);
    return Int32Array.of(...start, ...left, ...between, ...right, ...end);
  }

  /**
   * The template with both texts in their places, tokenised in one go: a word merges with the space
   * before it. Where a text spells a special token, it is tokenised by itself and stays text.
   */
  async #templated(pair: EncodeInput & { kind: 'pair' }): Promise<Int32Array> {
    const texts: Readonly<Record<string, string>> = {
      [QUERY]: pair.query,
      [DOCUMENT]: pair.document,
    };
    const guarded =
      (await this.#spellsSpecial(pair.query)) || (await this.#spellsSpecial(pair.document));
    const parts = defined(this.#template, 'template').split(/(\{query\}|\{document\})/);
    const fill = (part: string): string => texts[part] ?? part;
    if (!guarded) return this.#parsed(parts.map(fill).join(''));
    const pieces: number[] = [];
    for (const part of parts) {
      const tokens = await (part in texts ? this.#plain(fill(part)) : this.#parsed(part));
      for (const token of tokens) pieces.push(token);
    }
    return Int32Array.from(pieces);
  }

  async #spellsSpecial(text: string): Promise<boolean> {
    const [plain, parsed] = await Promise.all([this.#plain(text), this.#parsed(text)]);
    return plain.length !== parsed.length || plain.some((token, i) => token !== parsed[i]);
  }

  #plain(text: string): Promise<Int32Array> {
    return this.#vocab.tokenize(text, { addSpecial: false, parseSpecial: false });
  }

  #parsed(text: string): Promise<Int32Array> {
    return this.#vocab.tokenize(text, { addSpecial: false, parseSpecial: true });
  }
}

/**
 * BERT: [CLS] q [SEP] d [SEP]. XLM-RoBERTa: <s> q </s> </s> d </s>. Decoders: as their vocabulary
 * frames a text, twice.
 */
function marksOf(binding: Binding, model: Pointer): Marks {
  const vocab = binding.modelVocab(model);
  const [bos, eos, sep] = [
    binding.vocabBos(vocab),
    binding.vocabEos(vocab),
    binding.vocabSep(vocab),
  ];
  const known = (...tokens: number[]): number[] => tokens.filter((token) => token >= 0);
  const start = binding.vocabAddsBos(vocab) ? known(bos) : [];
  if (readMeta(binding, model, 'tokenizer.ggml.model') === 'bert') {
    return { start, between: known(sep), end: known(sep) };
  }
  const end = binding.vocabAddsEos(vocab) ? known(eos >= 0 ? eos : sep) : [];
  const doubled = binding.vocabAddsSep(vocab) || isRoberta(binding, model);
  const between = doubled ? [...end, ...known(sep >= 0 ? sep : eos)] : end;
  return { start, between, end };
}

/** An encoder of the BERT family whose tokeniser frames texts as <s> … </s>. */
function isRoberta(binding: Binding, model: Pointer): boolean {
  const architecture = readMeta(binding, model, 'general.architecture') ?? '';
  return architecture.includes('bert') && binding.vocabAddsEos(binding.modelVocab(model));
}
