/**
 * The configurations of examples/ for machines of 16 to 128 GB, planned on such machines by the
 * catalogue: everything that they list is in memory at once. And what the story of this program
 * claims of 64 GB, which is not so.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { setupNamed } from '../src/cli/planning/setups.ts';
import type { Config, ModelConfig } from '../src/config/config.ts';
import { NO_FLAGS } from '../src/config/layers.ts';
import { loadConfig } from '../src/config/load.ts';
import { loadCatalogue } from '../src/model/catalogue-data.ts';
import { geometryOfModel } from '../src/planner/architecture.ts';
import { hostNeed } from '../src/planner/host-need.ts';
import { findModel } from '../src/planner/lookup.ts';
import { setupMemory } from '../src/planner/setup.ts';
import { ByteLedger, explainFit, type Reservation } from '../src/pool/ledger.ts';
import { ENCODE_LIMITS, type HostSpec } from '../src/wire/host.ts';

const EXAMPLES = join(import.meta.dirname, '../examples');
const catalogue = loadCatalogue();

/** Which shape of the catalogue each reference is of; embedders and guards are fine-tunes. */
const SHAPES: Readonly<Record<string, readonly [id: string, quant: string]>> = {
  'Qwen/Qwen3-8B-GGUF:Q4_K_M': ['qwen3-8b', 'Q4_K_M'],
  'Qwen/Qwen3-14B-GGUF:Q4_K_M': ['qwen3-14b', 'Q4_K_M'],
  'Qwen/Qwen3-32B-GGUF:Q4_K_M': ['qwen3-32b', 'Q4_K_M'],
  'bartowski/Llama-3.3-70B-Instruct-GGUF:Q4_K_M': ['llama-3.3-70b', 'Q4_K_M'],
  'ggml-org/gpt-oss-120b-GGUF:MXFP4': ['gpt-oss-120b', 'MXFP4'],
  'Qwen/Qwen3-Embedding-0.6B-GGUF:Q8_0': ['qwen3-0.6b', 'Q8_0'],
  'ggml-org/Qwen3-Reranker-0.6B-Q8_0-GGUF:Q8_0': ['qwen3-0.6b', 'Q8_0'],
  'mradermacher/Qwen3Guard-Gen-0.6B-GGUF:Q8_0': ['qwen3-0.6b', 'Q8_0'],
  'the founding story’s embedder': ['llama-2-13b', 'F16'],
};

function configOf(file: string): Config {
  const flags = { ...NO_FLAGS, file: join(EXAMPLES, file) };
  return loadConfig({ flags, env: {}, cwd: EXAMPLES }).config;
}

type Asked = Pick<ModelConfig, 'model' | 'contextTokens' | 'parallel' | 'class' | 'cacheType'>;

function specOf({ contextTokens, parallel, class: c, cacheType, model }: Asked): HostSpec {
  const context = contextTokens ?? 8192;
  return {
    modelId: model,
    role: c === 'embed' || c === 'rerank' ? 'encode' : 'generate',
    engine: {
      kind: 'llama',
      path: '',
      threads: null,
      gpuLayers: null,
      cacheType,
      stepTokensMax: 512,
    },
    contextTokens: context,
    parallel,
    cells: context * parallel,
    queueMax: 1,
    waitMsMax: 1,
    stepTargetMs: null,
    prefixCache: true,
    heartbeatMs: 1000,
    encode: ENCODE_LIMITS,
  };
}

function needOf(asked: Asked): Reservation {
  const [id, quant] = SHAPES[asked.model] ?? [];
  if (id === undefined || quant === undefined) throw new Error(`no shape of ${asked.model}`);
  const geometry = geometryOfModel(findModel(catalogue, id), quant);
  const { neededBytes } = hostNeed(specOf(asked), geometry, null);
  return { model: asked.model, class: asked.class ?? 'chat', bytes: neededBytes };
}

function ledgerOn(machine: string, { pool }: Config): ByteLedger {
  const named = setupNamed(catalogue, machine);
  const setup = pool.reserveBytes === null ? named : { ...named, reserveBytes: pool.reserveBytes };
  return new ByteLedger(setupMemory(setup).availableBytes, pool.floors);
}

const MACHINES = [
  ['machine-16gb.yaml', 'm4-10c:16'],
  ['machine-32gb.yaml', 'm4-10c:32'],
  ['machine-64gb.yaml', 'm4-max-40c:64'],
  ['machine-128gb.yaml', 'm4-max-40c:128'],
] as const;

describe('each example fits its machine, with everything in memory', () => {
  it.each(MACHINES)('%s on %s', (file, machine) => {
    const config = configOf(file);
    const ledger = ledgerOn(machine, config);
    expect(new Set(config.models.map((model) => model.class ?? 'chat')).size).toBe(4);
    for (const model of config.models) {
      const need = needOf(model);
      const fit = ledger.fit(need);
      expect(fit.fits, explainFit(fit, need)).toBe(true);
      ledger.reserve(need);
    }
    ledger.check();
    // Nor is it planned for a machine that is twice as large.
    expect(ledger.reservedBytes).toBeGreaterThan(ledger.availableBytes / 2);
  });

  it('and every example that is for a machine is tried', () => {
    const files = readdirSync(EXAMPLES).filter((name) => name.startsWith('machine-'));
    expect(files.sort()).toEqual(MACHINES.map(([file]) => file).sort());
  });
});

it('64 GB do not hold the 70B with a 13B F16 embedder beside it', () => {
  const config = configOf('machine-64gb.yaml');
  const ledger = ledgerOn('m4-max-40c:64', config);
  const [chat] = config.models;
  if (chat === undefined) throw new Error('no chat model');
  ledger.reserve(needOf(chat));
  const asked = { ...chat, model: 'the founding story’s embedder', class: 'embed' } as const;
  const need = needOf({ ...asked, contextTokens: 512 });
  const fit = ledger.fit(need);
  expect(fit.fits).toBe(false);
  expect(fit.shortBytes).toBeGreaterThan(10e9);
  expect(explainFit(fit, need)).toContain('more than the pool of 54.');
});
