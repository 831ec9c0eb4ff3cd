/**
 * What a model file is for, read from its header: text, or vectors, and then of which kind. The
 * engine decides the same from the same keys when it loads.
 */
import { PlenumError } from '../../base/errors.ts';
import type { ModelGeometry } from '../../model/geometry.ts';
import { type GgufHeader, metadataList } from '../../model/gguf.ts';
import type { HostSpec } from '../../wire/host.ts';
import type { ModelClass } from '../../wire/pool.ts';

export interface Purpose {
  readonly class: ModelClass;
  readonly role: HostSpec['role'];
  /** Context where the configuration names none. */
  readonly contextTokensDefault: number;
}

/** Context of a model that was trained for more, unless the configuration says otherwise. */
const CONTEXT_TOKENS_DEFAULT = 8192;
/**
 * The engine keeps a row of the vocabulary, in 32 bits, for every token of an encoder's longest
 * input, although no encoder fills it: 1 GiB for 1,072 tokens of a vocabulary of 250,002.
 */
const OUTPUT_BYTES_MAX = 512 * 1024 * 1024;
const CONTEXT_STEP = 256;

export function purposeOf(geometry: ModelGeometry, header: GgufHeader): Purpose {
  const { arch, contextTokens: trained, isEncoder, pooling, vocab } = geometry;
  if (!isEncoder && (pooling === null || pooling === 'none')) {
    const contextTokensDefault = Math.min(trained, CONTEXT_TOKENS_DEFAULT);
    return { class: 'chat', role: 'generate', contextTokensDefault };
  }
  const steps = Math.floor(OUTPUT_BYTES_MAX / (4 * vocab * CONTEXT_STEP));
  const contextTokensDefault = Math.min(
    trained,
    CONTEXT_TOKENS_DEFAULT,
    Math.max(1, steps) * CONTEXT_STEP,
  );
  return {
    class: vectorClass(pooling, labelsOf(header, arch)),
    role: 'encode',
    contextTokensDefault,
  };
}

/**
 * What the configuration says it is for, where it may: a model that generates can judge or give
 * vectors, one made for vectors cannot generate. Throws PlenumError `config_invalid`.
 */
export function purposeAs(asked: ModelClass | null, found: Purpose, id: string): Purpose {
  if (asked === null || asked === found.class) return found;
  if (found.role === 'generate') {
    if (asked === 'guard') return { ...found, class: asked };
    if (asked === 'embed') return { ...found, class: asked, role: 'encode' };
  }
  if (found.role === 'encode' && found.class !== 'embed' && asked !== 'chat' && asked !== 'embed') {
    return { ...found, class: asked };
  }
  const kind =
    found.role === 'encode' ? `gives vectors for class ${found.class}` : 'generates text';
  throw new PlenumError('config_invalid', `${id} ${kind} and cannot serve as class ${asked}`, {
    param: 'class',
  });
}

const labelsOf = (header: GgufHeader, arch: string): readonly unknown[] =>
  metadataList(header, `${arch}.classifier.output_labels`) ?? [];

/** A judge between yes and no ranks as well; other labels are the classes of a guard. */
function vectorClass(pooling: ModelGeometry['pooling'], labels: readonly unknown[]): ModelClass {
  if (pooling !== 'rank') return 'embed';
  return labels.length > 1 && labels.join() !== 'yes,no' ? 'guard' : 'rerank';
}
