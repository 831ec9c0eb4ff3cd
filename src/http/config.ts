/** What the front door can be told. Every limit has a name, a unit and a default. */
import type { GuardPolicy } from '../wire/guard.ts';
import type { RequestLimits } from '../wire/openai-fields.ts';

/** A key by its SHA-256 (64 hexadecimal digits) or in the clear; its name appears in the log. */
export type ApiKey = {
  readonly name: string;
  /** It may load, unload and pin models, and see who holds what. */
  readonly admin?: boolean;
  /** In the place of the model's own guard; `off` = none for this key, absent = the model's. */
  readonly guard?: GuardPolicy | 'off';
} & ({ readonly sha256: string } | { readonly plain: string });

export interface HttpLimits extends RequestLimits {
  readonly bodyBytesMax: number;
  readonly headerBytesMax: number;
  /** Nesting of a JSON body. */
  readonly jsonDepthMax: number;
  /** Values in a JSON body, not counting the elements of token lists. */
  readonly jsonValuesMax: number;
  readonly connectionsMax: number;
  /** POST requests under way, from their headers to the end of their reply. */
  readonly concurrentRequestsMax: number;
  /** What a stream may hold for a client that reads slower than the model writes. */
  readonly streamBufferBytesMax: number;
  /** How long a reply may be stuck because its client does not read at all. */
  readonly stalledReaderMs: number;
  /** A stream that is silent for this long sends a comment; accepted requests that wait, too. */
  readonly streamKeepAliveMs: number;
  readonly requestHeaderTimeoutMs: number;
  /** From the first byte of a request to the last one of its body. */
  readonly bodyTimeoutMs: number;
  readonly keepAliveMs: number;
  /** For requests that set no deadline_ms; null = none. */
  readonly deadlineMsDefault: number | null;
}

export interface HttpConfig {
  readonly host: string;
  readonly port: number;
  /** Other names that a Host header may carry when bound to loopback without keys. */
  readonly allowedHosts: readonly string[];
  /** None = open to whoever can connect. */
  readonly apiKeys: readonly ApiKey[];
  /** Origins that a browser may call from; null = CORS is off. */
  readonly corsOrigins: readonly string[] | null;
  readonly limits: HttpLimits;
}

export const HTTP_DEFAULTS: HttpConfig = {
  host: '127.0.0.1',
  port: 8686,
  allowedHosts: [],
  apiKeys: [],
  corsOrigins: null,
  limits: {
    bodyBytesMax: 4 * 1024 * 1024,
    headerBytesMax: 16 * 1024,
    jsonDepthMax: 32,
    jsonValuesMax: 65_536,
    connectionsMax: 4096,
    concurrentRequestsMax: 2048,
    streamBufferBytesMax: 256 * 1024,
    stalledReaderMs: 60_000,
    streamKeepAliveMs: 10_000,
    requestHeaderTimeoutMs: 10_000,
    bodyTimeoutMs: 60_000,
    keepAliveMs: 72_000,
    deadlineMsDefault: null,
    messagesMax: 4096,
    contentPartsMax: 256,
    promptsMax: 64,
    choicesMax: 128,
    nMax: 16,
    stopStringsMax: 16,
    stopStringCharsMax: 256,
    logitBiasMax: 1024,
    inputsMax: 2048,
    inputCharsMax: 1_000_000,
    documentsMax: 1024,
  },
};
