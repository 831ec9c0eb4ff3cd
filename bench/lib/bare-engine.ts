/**
 * What the engine library itself takes, measured in a process that holds nothing else: proportional
 * memory before the model is opened and after it has computed one full step. A program of its own:
 * `node bare-engine.ts FILE THREADS CONTEXT PARALLEL` prints one line of JSON.
 */
import { openLlamaEngine } from '../../src/engine/llama/engine.ts';
import { memoryUse } from './processes.ts';

export interface BareEngine {
  /** Growth of memory by opening the model, without the growth of JavaScript's own heap. */
  readonly libraryBytes: number;
  /** What the library says of its buffers. */
  readonly reportedBytes: number;
}

const STEP_TOKENS = 512;

async function measure(): Promise<BareEngine> {
  const [path = '', threads, context, parallel] = process.argv.slice(2);
  const [contextTokens, sequences] = [Number(context), Number(parallel)];
  const before = memoryUse(process.pid).pssBytes;
  const heapBefore = heapBytes();
  const engine = await openLlamaEngine(
    {
      kind: 'llama',
      path,
      threads: Number(threads),
      gpuLayers: 0,
      cacheType: 'f16',
      stepTokensMax: STEP_TOKENS,
    },
    {
      contextTokens,
      cells: contextTokens * sequences,
      parallel: sequences,
      prefixCache: true,
      onProgress: () => undefined,
    },
  );
  const tokens = Int32Array.from(
    { length: Math.min(STEP_TOKENS, contextTokens) },
    (_, i) => i + 20,
  );
  await engine.step({
    step: 1,
    ops: [],
    slices: [{ request: 1, seq: 0, start: 0, tokens, output: 'none' }],
    shape: { tokens: tokens.length, sequences: 1, attended: 0, outputs: 0 },
    predictedMs: 1,
  });
  const grown = memoryUse(process.pid).pssBytes - before - (heapBytes() - heapBefore);
  const { weightsBytes, kvBytes, computeBytes } = engine.stats();
  await engine.shutdown();
  return { libraryBytes: grown, reportedBytes: weightsBytes + kvBytes + computeBytes };
}

/** Memory of JavaScript: its heap, and its buffers outside of it. */
function heapBytes(): number {
  const { heapTotal, arrayBuffers } = process.memoryUsage();
  return heapTotal + arrayBuffers;
}

process.stdout.write(`${JSON.stringify(await measure())}\n`);
