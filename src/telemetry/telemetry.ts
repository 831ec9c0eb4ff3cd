/** Log and metrics together, as the rooms above receive them. */
import { createLogger, type Logger, type LogOptions } from './log.ts';
import { Metrics } from './metrics.ts';

export interface Telemetry {
  readonly log: Logger;
  readonly metrics: Metrics;
}

export function createTelemetry(options: LogOptions & { readonly version: string }): Telemetry {
  return { log: createLogger(options), metrics: new Metrics(options.version) };
}
