/**
 * Predicted against measured bytes: what the pool reserves for a model before it is loaded, and the
 * proportional set size of its host after it has computed a whole batch. Three architectures, three
 * contexts each.
 */
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
    contexts: ['1024,4096,8192', 'of models that generate; of the others 128, 256 and 512'],
    parallel: ['2', 'sequences at a time'],
    home: ['', 'folder that keeps the synthetic files (default: a temporary one)'],
  },
});
const BATCH_WORDS = 900;

const { more } = options;
const home = more.home || temporaryFolder();
const contexts = (more.contexts ?? '').split(',').map(Number);
const ENCODER_CONTEXTS = [128, 256, 512];
const isEncoder = (model: string): boolean => /minilm|bge|bert/.test(model);

interface Row {
  readonly model: string;
  readonly contextTokens: number;
  readonly predictedBytes: number;
  readonly measuredBytes: number;
}

/** Text whose tokens fill a batch, as far as the context allows. */
async function promptTokens(url: string, model: string, most: number): Promise<number[]> {
  const text = Array.from({ length: BATCH_WORDS }, (_, i) => WORDS[i % WORDS.length]).join(' ');
  const reply = await postJson(`${url}/tokenize`, { model, content: text, add_special: true });
  return z
    .object({ tokens: z.array(z.int()) })
    .parse(await reply.json())
    .tokens.slice(0, most);
}

async function work(url: string, model: string, contextTokens: number): Promise<void> {
  if (isEncoder(model)) {
    const input = Array.from({ length: contextTokens - 8 }, () => 'a').join(' ');
    const inputs = Array.from({ length: 8 }, () => input);
    await postJson(`${url}/v1/embeddings`, { model: 'm', input: inputs });
    return;
  }
  const prompt = await promptTokens(url, 'm', Math.min(BATCH_WORDS, contextTokens - 40));
  const body = { model: 'm', prompt, max_tokens: 32, temperature: 0, ignore_eos: true };
  await Promise.all([
    postJson(`${url}/v1/completions`, body),
    postJson(`${url}/tokenize`, {
      model: 'm',
      content: 'beside it',
    }),
  ]);
  await postJson(`${url}/v1/completions`, { ...body, prompt: [...prompt].reverse() });
}

async function measure(model: string, contextTokens: number): Promise<Row> {
  progress(`${model}, ${contextTokens} tokens`);
  const yaml =
    `models:\n  - {model: "synthetic:${model}", id: m, context: ${contextTokens}, ` +
    `parallel: ${more.parallel}, engine: {threads: ${options.threads}}}\n`;
  const server = await serveYaml(yaml, home);
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
      'measured: proportional set size after a full batch',
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
