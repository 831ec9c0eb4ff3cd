/**
 * What a host process takes without weights, cache and buffers: Node, the engine's library and
 * the vocabulary as both keep it. Pure.
 */
import type { ModelGeometry } from '../model/geometry.ts';

/**
 * A host with a vocabulary of next to nothing: heap and code of Node 24, the library, allocators'
 * free lists. Proportional set size beside one front process, which shares Node's code, after
 * requests (bench/bytes.ts with synthetic:tiny).
 */
export const HOST_PROCESS_BYTES = 83.4e6;

/**
 * One token of the library's llama_vocab: its entry (40 B), its text's name in the map from text to
 * token (a node of 64 B as malloc rounds it, 12 B of bucket), its piece (32 B), its id for samplers
 * (4 B); of this program: where its piece is (8 B) and a place to sort its logit (4 B).
 */
const TOKEN_BYTES = 40 + 64 + 12 + 32 + 4 + 8 + 4;
/** One merge of byte-pair encoding: a node with two texts (96 B) and 12 B of bucket. */
const MERGE_BYTES = 96 + 12;

/** Texts of more than 15 bytes, which are few, have another allocation and are not counted. */
export function hostProcess({ vocab, merges = vocab }: ModelGeometry): {
  readonly size: number;
  readonly source: string;
} {
  return {
    size: HOST_PROCESS_BYTES + vocab * TOKEN_BYTES + merges * MERGE_BYTES,
    source: `estimate: Node, the library, a vocabulary of ${vocab} with ${merges} merges`,
  };
}
