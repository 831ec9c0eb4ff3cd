/**
 * Work that ends in a vector per input instead of text: embeddings, relevance of a document to a
 * query, the classes of a classifier. As it crosses from the front door to a host and back.
 */

/** What an encoder's output means. */
export type EncodeTask = 'embed' | 'rank' | 'classify';

export type EncodeInput =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'tokens'; readonly tokens: Int32Array }
  /** Joined by the host the way that the model was trained on. */
  | { readonly kind: 'pair'; readonly query: string; readonly document: string };

export interface EncodeRequest {
  readonly task: EncodeTask;
  readonly inputs: readonly EncodeInput[];
  /** From arrival to the last vector; null = none. */
  readonly deadlineMs: number | null;
}

export interface EncodeReply {
  /**
   * One row of `width` numbers per input, in order. `embed`: the pooled vector as the model gives
   * it (not normalised); `rank`: one logit; `classify`: one logit per label.
   */
  readonly values: Float32Array;
  readonly width: number;
  readonly tokenCounts: readonly number[];
  /** From arrival to the first batch with one of its inputs. */
  readonly queueMs: number;
  /** Its share, by tokens, of the batches that it was part of. */
  readonly computeMs: number;
}

export interface EncoderFacts {
  readonly tasks: readonly EncodeTask[];
  readonly dimensions: number;
  /** `mean`, `cls`, `last`, `rank`. */
  readonly pooling: string;
  /** Names of the classes, in the order of a `classify` row; empty for others. */
  readonly labels: readonly string[];
  /** Lengths to which a vector may be cut because the model was trained for it; empty = none. */
  readonly matryoshkaDimensions: readonly number[];
}
