/** A front door for tests: a fixture backend behind it, its log kept as parsed lines. */
import type { AddressInfo } from 'node:net';
import { createTelemetry } from '../telemetry/telemetry.ts';
import { HTTP_DEFAULTS, type HttpConfig, type HttpLimits } from './config.ts';
import { FixtureBackend } from './fixture-backend.ts';
import { createServer } from './server.ts';

export interface FixtureServerOptions {
  readonly backend?: FixtureBackend;
  readonly config?: Partial<Omit<HttpConfig, 'limits'>>;
  readonly limits?: Partial<HttpLimits>;
}

export function fixtureServer(options: FixtureServerOptions = {}) {
  const backend = options.backend ?? new FixtureBackend();
  const lines: string[] = [];
  const telemetry = createTelemetry({
    level: 'debug',
    version: '1.2.3',
    destination: { write: (line) => lines.push(line) },
  });
  const config: HttpConfig = {
    ...HTTP_DEFAULTS,
    ...options.config,
    limits: { ...HTTP_DEFAULTS.limits, ...options.limits },
  };
  const app = createServer({ backend, config, telemetry, version: '1.2.3' });
  return {
    app,
    backend,
    telemetry,
    lines,
    post: (url: string, body: unknown, headers: Readonly<Record<string, string>> = {}) =>
      app.inject({
        method: 'POST',
        url,
        headers: { 'content-type': 'application/json', ...headers },
        payload: typeof body === 'string' ? body : JSON.stringify(body),
      }),
    get: (url: string, headers: Readonly<Record<string, string>> = {}) =>
      app.inject({ method: 'GET', url, headers }),
    /** Listens on a free port of 127.0.0.1. */
    listen: async (): Promise<number> => {
      await app.listen({ host: '127.0.0.1', port: 0 });
      return (app.server.address() as AddressInfo).port;
    },
  };
}

/** The data of each server-sent event, parsed; `[DONE]` as that string. */
export function events(body: string): unknown[] {
  return body
    .split('\n\n')
    .filter((block) => block !== '')
    .map((block) => {
      const data = block.replace(/^data: /, '');
      return data === '[DONE]' ? data : JSON.parse(data);
    });
}
