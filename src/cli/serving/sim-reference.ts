/**
 * `sim:` references: a server on the simulated engine, for measuring everything but a model.
 *
 *   sim:                                   2 ms + 0.05 ms per token
 *   sim:fixed_ms=20,per_token_ms=0.1,seed=7,crash_at_step=100
 */
import { PlenumError } from '../../base/errors.ts';
import { nearest } from '../../base/nearest.ts';
import type { SimSpec } from '../../wire/host.ts';

export const SIM_PREFIX = 'sim:';

const DEFAULTS: Readonly<Record<string, number | null>> = {
  seed: 1,
  vocab_size: 4096,
  fixed_ms: 2,
  per_token_ms: 0.05,
  per_attended_ms: 0,
  noise: 0,
  crash_at_step: null,
  fail_at_step: null,
  hang_at_step: null,
};

/** Throws PlenumError reference_invalid naming the unknown or malformed part. */
export function parseSimReference(text: string, stepTokensMax: number): SimSpec {
  const values = { ...DEFAULTS };
  const rest = text.slice(SIM_PREFIX.length);
  for (const part of rest === '' ? [] : rest.split(',')) {
    const [name = '', value = ''] = part.split('=');
    if (!Object.hasOwn(DEFAULTS, name)) {
      const hint = nearest(name, Object.keys(DEFAULTS)) ?? Object.keys(DEFAULTS).join(', ');
      throw new PlenumError('reference_invalid', `sim: has no "${name}"; did you mean ${hint}?`);
    }
    if (!/^\d+(\.\d+)?$/.test(value)) {
      throw new PlenumError('reference_invalid', `sim: ${name} must be a number, not "${value}"`);
    }
    values[name] = Number(value);
  }
  return {
    seed: values.seed ?? 1,
    vocabSize: values.vocab_size ?? 4096,
    fixedMs: values.fixed_ms ?? 0,
    perTokenMs: values.per_token_ms ?? 0,
    perAttendedMs: values.per_attended_ms ?? 0,
    noise: values.noise ?? 0,
    stepTokensMax,
    faults: {
      crashAtStep: values.crash_at_step ?? null,
      failAtStep: values.fail_at_step ?? null,
      hangAtStep: values.hang_at_step ?? null,
      failLoad: null,
    },
  };
}
