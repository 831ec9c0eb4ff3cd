/** What a pull tells while it runs, for progress bars, plain lines and `--json`. No behaviour. */

export type PullEvent =
  /** One of several places is about to be tried. */
  | { readonly kind: 'mirror'; readonly mirror: string; readonly from: string }
  | { readonly kind: 'mirror_failed'; readonly mirror: string; readonly reason: string }
  /** Another process pulls the same; this one waits for it. */
  | { readonly kind: 'waiting'; readonly pid: number }
  /** The file has this many bytes now; sent for each block that arrives. */
  | {
      readonly kind: 'transfer';
      readonly file: string;
      readonly bytes: number;
      /** Null when the server does not say. */
      readonly totalBytes: number | null;
      /** How many of the bytes were there from an earlier run. */
      readonly resumedBytes: number;
    }
  | {
      readonly kind: 'retry';
      readonly file: string;
      readonly reason: string;
      readonly waitMs: number;
    }
  /** All bytes are there; they are checked before they are accepted. */
  | { readonly kind: 'checking'; readonly file: string }
  | {
      readonly kind: 'done';
      readonly reference: string;
      readonly id: string;
      readonly bytes: number;
      readonly path: string;
    };

export type OnPullEvent = (event: PullEvent) => void;
