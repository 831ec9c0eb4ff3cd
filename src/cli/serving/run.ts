/**
 * `plenum serve` from start to end: configuration, models, node, front door, and back down in
 * order. It owns the order of things and what a person reads meanwhile; nothing of how they work.
 */
import type { FastifyInstance } from 'fastify';
import { systemClock } from '../../base/clock.ts';
import { fromErrorRecord, type PlenumError } from '../../base/errors.ts';
import { formatMillis } from '../../base/units.ts';
import type { Config } from '../../config/config.ts';
import type { ConfigFlags } from '../../config/layers.ts';
import { loadConfig } from '../../config/load.ts';
import { assertBindable, isLoopback } from '../../http/auth.ts';
import { HTTP_DEFAULTS, type HttpConfig } from '../../http/config.ts';
import { createServer, listen } from '../../http/server.ts';
import { Node } from '../../node/node.ts';
import { poolLine } from '../../pool/keeper.ts';
import type { KeeperEvent } from '../../pool/keeper-types.ts';
import type { SupervisorChange } from '../../pool/supervisor.ts';
import { createTelemetry, type Telemetry } from '../../telemetry/telemetry.ts';
import { type CliContext, paint } from '../context.ts';
import { pullReporter } from '../pull-reporter.ts';
import { keepHeapSmall } from './heap.ts';
import { memoryOf, weighModels } from './memory.ts';
import { withProfiles } from './profile.ts';
import { resolveModels } from './resolve.ts';

/** Runs until it is interrupted. Throws PlenumError when it cannot start. */
export async function serve(flags: ConfigFlags, context: CliContext): Promise<void> {
  keepHeapSmall();
  const { config } = loadConfig({ flags, env: context.env, cwd: context.cwd });
  const http = httpConfig(config);
  const force = config.server.forceBindWithoutKeys;
  // Before anything is downloaded; listen() checks again.
  assertBindable(http.host, http.apiKeys, force);
  const stop = context.interrupted();
  const reporter = pullReporter(context);
  const telemetry = createTelemetry({ level: config.server.log.level, version: context.version });
  const found = await resolveModels(config, {
    ensure: {
      home: config.home ?? undefined,
      env: context.env,
      cwd: context.cwd,
      signal: stop,
      onProgress: reporter.onEvent,
    },
    onStandIn: (error) => {
      reporter.stop();
      const text = `${error.message}\nServing a synthetic model instead: its words are random.\n`;
      context.stderr.write(paint(context.stderr, 'yellow', text));
    },
  }).finally(() => reporter.stop());
  const { log } = telemetry;
  const weighed = await weighModels(found, {
    home: config.home,
    env: context.env,
    signal: stop,
    onEstimate: (model, reason) => log.warn({ model, reason }, 'memory is estimated'),
  });
  const models = await withProfiles(weighed, {
    home: config.home,
    env: context.env,
    onStart: (model, stepTimes) => log.info({ model, stepTimes }, 'first step times'),
  });
  const memory = await memoryOf(config.pool);
  const boot = new Boot(telemetry);
  const onEvent = (event: KeeperEvent): void => logKeeper(log, event);
  const { onChange } = boot;
  const node = new Node({ models, clock: systemClock, memory, onChange, onEvent });
  const server = createServer({ backend: node, config: http, telemetry, version: context.version });
  try {
    await listen(server, http, { force });
    boot.await(node.start());
    log.info({ pool: poolLine(node.pool.view()) }, 'pool');
    await Promise.race([boot.settled, aborted(stop)]);
    if (!stop.aborted) announce(context, { node, server, config });
    await aborted(stop);
    telemetry.log.info({ drainMs: config.drainMs }, 'draining');
  } finally {
    await node.drain(stop.aborted ? config.drainMs : 0);
    await server.close();
  }
}

/** Follows the hosts until each model is ready or has failed for good. */
class Boot {
  readonly settled: Promise<void>;
  readonly #pending = new Set<string>();
  #total = 0;
  readonly #log: Telemetry['log'];
  #failed: PlenumError[] = [];
  #resolve: () => void = () => undefined;
  #reject: (error: PlenumError) => void = () => undefined;

  constructor(telemetry: Telemetry) {
    this.#log = telemetry.log;
    this.settled = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // It is awaited only after the server listens; until then a rejection is not unhandled.
    this.settled.catch(() => undefined);
  }

  /** Models that are being loaded from the start. */
  await(ids: readonly string[]): void {
    for (const id of ids) this.#pending.add(id);
    this.#total = ids.length;
    if (ids.length === 0) this.#resolve();
  }

  readonly onChange = (model: string, change: SupervisorChange): void => {
    switch (change.kind) {
      case 'ready': {
        const { engine, device, loadMs, pid } = change.facts;
        this.#log.info({ model, engine, device, pid, loadMs: Math.round(loadMs) }, 'model ready');
        this.#settle(model, null);
        return;
      }
      case 'died': {
        const { error, retryMs } = change;
        this.#log.error({ model, code: error.code, reason: error.message, retryMs }, 'host died');
        if (this.#pending.has(model)) this.#settle(model, fromErrorRecord(error));
        return;
      }
      case 'stopped':
        this.#log.info({ model }, 'model stopped');
        return;
      case 'progress':
        return;
    }
  };

  #settle(model: string, error: PlenumError | null): void {
    if (!this.#pending.delete(model)) return;
    if (error !== null) this.#failed.push(error);
    if (this.#pending.size > 0) return;
    const [first] = this.#failed;
    if (first !== undefined && this.#failed.length === this.#total) this.#reject(first);
    else this.#resolve();
  }
}

const KEEPER_LOG: Readonly<Record<KeeperEvent['kind'], readonly ['info' | 'warn', string]>> = {
  loading: ['info', 'model loading'],
  on_demand: ['warn', 'model is loaded on demand'],
  unloaded: ['info', 'model unloaded'],
  lingering: ['warn', 'an ended host still has memory'],
  mispredicted: ['warn', 'a host has more or less memory than predicted'],
  paused: ['warn', 'loading is paused'],
  resumed: ['info', 'loading goes on'],
};

function logKeeper(log: Telemetry['log'], { kind, ...facts }: KeeperEvent): void {
  const [level, message] = KEEPER_LOG[kind];
  log[level](facts, message);
}

function httpConfig({ server }: Config): HttpConfig {
  return {
    ...HTTP_DEFAULTS,
    host: server.host,
    port: server.port,
    allowedHosts: server.allowedHosts,
    apiKeys: server.apiKeys,
    corsOrigins: server.corsOrigins.length === 0 ? null : server.corsOrigins,
    limits: { ...HTTP_DEFAULTS.limits, ...server.limits },
  };
}

function announce(
  context: CliContext,
  running: { node: Node; server: FastifyInstance; config: Config },
): void {
  const { node, server, config } = running;
  const address = server.server.address();
  const port = typeof address === 'object' ? address?.port : config.server.port;
  const host = isLoopback(config.server.host) ? 'localhost' : config.server.host;
  const url = `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
  const out = context.stdout;
  out.write(`${paint(out, 'bold', 'Plenum')} ${context.version} listens on ${url}/v1\n`);
  for (const { model, device } of node.status()) {
    const context = `${model.contextTokens} tokens × ${model.parallel} streams`;
    const words = model.synthetic ? '; its words are random' : '';
    const state = model.state === 'ready' ? (device ?? '') : (model.reason ?? model.state);
    out.write(`  ${model.id}: ${model.description}, ${context}, ${state}${words}\n`);
  }
  const messages = [{ role: 'user', content: 'Hello' }];
  const body = JSON.stringify({ model: node.models()[0]?.id, messages });
  const auth = config.server.apiKeys.length === 0 ? '' : ` -H "Authorization: Bearer $KEY"`;
  out.write(
    `Try it:  curl ${url}/v1/chat/completions -H 'content-type: application/json'` +
      `${auth} -d '${body}'\n`,
  );
  out.write(`Read:    ${url}/docs    Stop: Ctrl-C (${formatMillis(config.drainMs)} to finish)\n`);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
