/**
 * Predicted against measured bytes: what the pool reserves for a model before it is loaded, and the
 * proportional set size of its host after it has used its whole context. Three architectures, three
 * contexts each.
 */
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { manage, poolModel, postJson, serveYaml, until } from './lib/admin.ts';
import { benchOptions, machine, markdownTable, printResult, progress } from './lib/options.ts';
import { memoryUse } from './lib/processes.ts';
import { WORDS } from './lib/prompts.ts';
import { temporaryFolder } from './lib/temporary.ts';

const options = benchOptions({
  name: 'bytes',
  what: 'predicted against measured bytes of hosts',
  modelless: true,
  more: {
    models: [
      'smollm2-360m@q8_0,gemma-3-270m@q8_0,bge-base-en-v1.5@f16',
      'synthetic models, comma-separated',
    ],
    contexts: ['512,1024,2048', 'of models that generate; of the others 128, 256 and 512'],
    parallel: ['2', 'sequences at a time, from 2'],
    home: ['', 'folder that keeps the synthetic files (default: a temporary one)'],
  },
});
const SCORED_TOKENS = 300;
/** Decoded beside the prompts: more steps than those take. */
const STREAM_TOKENS = 300;
/** A step beside a stream may take this long, so that it is as large as the engine lets it be. */
const STEP_TARGET_MS = 60_000;

const { more } = options;
const home = more.home || temporaryFolder();
const sequences = Array.from({ length: Number(more.parallel) }, (_, i) => i);
const contexts = (more.contexts ?? '').split(',').map(Number);
/** A copy: whoever else runs Node here would take a share of its pages from the host's size. */
const node = join(temporaryFolder(), 'node');
copyFileSync(process.execPath, node);
const ENCODER_CONTEXTS = [128, 256, 512];
const isEncoder = (model: string): boolean => /minilm|bge|bert/.test(model);

interface Row {
  readonly model: string;
  readonly contextTokens: number;
  readonly predictedBytes: number;
  readonly measuredBytes: number;
}

/** Token ids of random words, so many. */
async function promptTokens(url: string, count: number): Promise<number[]> {
  const text = Array.from({ length: count }, (_, i) => WORDS[i % WORDS.length]).join(' ');
  const reply = await postJson(`${url}/tokenize`, { model: 'm', content: text });
  const { tokens } = z.object({ tokens: z.array(z.int()) }).parse(await reply.json());
  return tokens.slice(0, count);
}

/**
 * Everything that a model may need: its whole context, steps of as many tokens as the engine takes
 * (alone a prompt is read in steps of half a second, which a slow processor fills with fewer), and
 * as many rows of logits as it gives.
 */
async function work(url: string, model: string, contextTokens: number): Promise<void> {
  if (isEncoder(model)) {
    const input = Array.from({ length: contextTokens - 8 }, () => 'a').join(' ');
    const inputs = Array.from({ length: 16 }, () => input);
    await postJson(`${url}/v1/embeddings`, { model: 'm', input: inputs });
    return;
  }
  const prompt = await promptTokens(url, contextTokens - 40);
  const body = { model: 'm', prompt, temperature: 0, ignore_eos: true };
  const complete = (more: object): Promise<Response> =>
    postJson(`${url}/v1/completions`, { ...body, ...more });
  const stream = complete({ prompt: prompt.slice(0, 16), max_tokens: STREAM_TOKENS });
  await complete({ max_tokens: 32 });
  const scored = prompt.slice(0, SCORED_TOKENS).reverse();
  await complete({ prompt: scored, echo: true, logprobs: 1, max_tokens: 0 });
  await stream;
  await Promise.all(sequences.map((i) => complete({ prompt: prompt.toSpliced(0, i) })));
}

async function measure(model: string, contextTokens: number): Promise<Row> {
  progress(`${model}, ${contextTokens} tokens`);
  const yaml =
    `models:\n  - {model: "synthetic:${model}", id: m, context: ${contextTokens}, ` +
    `parallel: ${more.parallel}, step_target_ms: ${STEP_TARGET_MS}, ` +
    `engine: {threads: ${options.threads}}}\n`;
  const server = await serveYaml(yaml, home, node);
  try {
    await manage(server.url, 'm', 'load');
    await work(server.url, model, contextTokens);
    const { needed_bytes, pid } = await until(async () => {
      const now = await poolModel(server.url, 'm');
      return now.pid === null ? null : now;
    }, 1000);
    const measuredBytes = memoryUse(pid ?? 0).pssBytes;
    return { model, contextTokens, predictedBytes: needed_bytes, measuredBytes };
  } finally {
    await server.stop();
  }
}

const rows: Row[] = [];
for (const model of (more.models ?? '').split(',')) {
  for (const context of isEncoder(model) ? ENCODER_CONTEXTS : contexts) {
    rows.push(await measure(model, context));
  }
}
const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);
const off = ({ predictedBytes, measuredBytes }: Row): number =>
  (100 * (predictedBytes - measuredBytes)) / measuredBytes;
printResult(
  options,
  {
    title: 'Predicted and measured bytes of a host, MB',
    facts: [
      machine(),
      `${more.parallel} sequences, ${options.threads} engine threads`,
      'measured: proportional set size after prompts as long as the context beside a stream, and ' +
        'a scored one',
    ],
    table: markdownTable(
      ['model', 'context', 'predicted', 'measured', 'predicted is off by'],
      rows.map((row) => [
        row.model,
        String(row.contextTokens),
        megabytes(row.predictedBytes),
        megabytes(row.measuredBytes),
        `${off(row) > 0 ? '+' : ''}${off(row).toFixed(1)} %`,
      ]),
    ),
  },
  rows,
);
