/** The proof accepts the pinned library and names what differs in another. */
import { describe, expect, it } from 'vitest';
import { openBinding } from './binding.ts';
import { proveLibrary, proveLogits } from './proof.ts';

const real = openBinding();
const provable = {
  version: real.version,
  modelDefaults: real.modelDefaults,
  contextDefaults: real.contextDefaults,
  maxSequences: real.maxSequences,
};

describe('proof of the binding', () => {
  it('accepts the pinned library', () => {
    proveLibrary(provable);
  });

  it('names what differs, what was expected and what was found', () => {
    const version = Object.assign(() => '0.5.0', real.version);
    expect(() => proveLibrary({ ...provable, version })).toThrow(
      'llama_version() should be 0.4.0-dev, is 0.5.0',
    );
    const shifted = (): ReturnType<typeof real.contextDefaults> => ({
      ...real.contextDefaults(),
      n_ubatch: 2048,
    });
    const contextDefaults = Object.assign(shifted, real.contextDefaults);
    expect(() => proveLibrary({ ...provable, contextDefaults })).toThrow(
      expect.objectContaining({
        code: 'binding_mismatch',
        details: { what: 'llama_context_params.n_ubatch', expected: '512', found: '2048' },
      }),
    );
  });

  it('wants logits that a model could have computed', () => {
    proveLogits(Float32Array.of(1, 2, -3), 3);
    expect(() => proveLogits(new Float32Array(3), 3)).toThrow(/different numbers/);
    expect(() => proveLogits(Float32Array.of(1, Number.NaN, 2), 3)).toThrow(/NaN/);
    expect(() => proveLogits(Float32Array.of(1, 2), 3)).toThrow(/length/);
  });
});
