/**
 * What a step's time depends on besides the model and the machine: how the KV cache is kept, which
 * kernels attend to it, how many tokens are computed at once. Of an engine's spec, in the terms of
 * the rules that it makes its contexts by (planner/engine-shape.ts). Pure.
 */
import { type CacheShape, cacheShape, passTokens } from '../../planner/engine-shape.ts';
import type { EngineSpec } from '../../wire/host.ts';
import type { EngineOptions } from '../port.ts';

export interface CacheAsk {
  readonly spec: Pick<
    EngineSpec & { kind: 'llama' },
    'gpuLayers' | 'cacheType' | 'kvLayout' | 'flashAttention' | 'stepTokensMax'
  >;
  readonly options: Pick<EngineOptions, 'cells' | 'contextTokens' | 'parallel'>;
  /** There is one, and the library has a backend for it. */
  readonly gpu: boolean;
}

export function cacheOf({ spec, options, gpu }: CacheAsk): CacheShape {
  const { cacheType, kvLayout, flashAttention, gpuLayers } = spec;
  const { cells, contextTokens, parallel } = options;
  const device = gpu && gpuLayers !== 0 ? 'gpu' : 'processor';
  return cacheShape({
    ...{ device, kvLayout, flashAttention, cacheType },
    ...{ cells, contextTokens, parallel },
  });
}

export interface Kernels {
  readonly layout: 'unified' | 'split';
  readonly attention: 'plain' | 'flash';
  /** Tokens computed at once (n_ubatch). */
  readonly ubatchTokens: number;
}

export function kernelsOf(ask: CacheAsk): Kernels {
  const shape = cacheOf(ask);
  const attention = shape.flash === 'off' ? 'plain' : 'flash';
  return {
    layout: shape.layout,
    attention,
    ubatchTokens: passTokens(shape, ask.spec.stepTokensMax),
  };
}
