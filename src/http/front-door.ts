/** What every route works with; made once by the server. */
import type { Clock } from '../base/clock.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import type { Backend } from './backend.ts';
import type { HttpConfig } from './config.ts';
import type { Exchange } from './exchange.ts';
import type { FlushQueue } from './sse.ts';

export interface FrontDoor {
  readonly backend: Backend;
  readonly config: HttpConfig;
  readonly telemetry: Telemetry;
  readonly version: string;
  readonly clock: Clock;
  readonly flushQueue: FlushQueue;
}

declare module 'fastify' {
  interface FastifyRequest {
    exchange: Exchange;
  }
  interface FastifyContextConfig {
    /** Counts in the request metrics and against the limit of concurrent requests. */
    generation?: boolean;
    /** Answers without an API key: says nothing about models or users. */
    open?: boolean;
    /** Only for keys that may manage the server. */
    admin?: boolean;
    probe?: boolean;
  }
}
