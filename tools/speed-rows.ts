/**
 * The published measurements as rows that the speed model can predict, and the rows that it is not
 * fitted to, each with its reason. Reads data/measurements/; judges nothing but what is written
 * here.
 */
import { loadMeasurements } from '../src/model/catalogue-data.ts';
import { type CsvRow, csvNumber } from '../src/model/csv.ts';

export interface SpeedRow {
  /** `llama2-7b-apple: M1 Max 32c Q4_0 tg128`. */
  readonly label: string;
  readonly set: RowSet;
  readonly machine: string;
  readonly devices: number;
  readonly model: string;
  readonly quant: string;
  readonly kind: 'decode' | 'prefill';
  /** Sequences that decode together; 1 for a prompt. */
  readonly batch: number;
  /** Decode: cells before the token, on average. Prefill: tokens before the prompt. */
  readonly depth: number;
  /** Prefill: tokens of the prompt. */
  readonly tokens: number;
  readonly measuredTps: number;
  readonly build: 'early' | 'current';
  readonly backend: 'llama.cpp' | 'mlx' | 'cpu';
  /** Layers that do not fit lie in two channels of DDR5. */
  readonly isSplit: boolean;
  /** Why it takes no part in the fit; null when it does. */
  readonly excluded: string | null;
}

export type RowSet =
  | 'llama-2-7b-apple'
  | 'llama-3-all'
  | 'batched'
  | 'depth'
  | 'others'
  | 'large-apple';

/** Every row of every file that has a number. */
export function speedRows(): readonly SpeedRow[] {
  return [
    ...loadMeasurements('llama2-7b-apple').flatMap(appleRows),
    ...loadMeasurements('llama3-gpus').flatMap(llama3Rows),
    ...loadMeasurements('batched-decode').flatMap(batchedRows),
    ...loadMeasurements('depth-decay').flatMap(depthRows),
    ...loadMeasurements('llama-bench-others').flatMap(otherRows),
    ...loadMeasurements('large-models-apple').flatMap(largeRows),
  ];
}

const number = (row: CsvRow, column: string): number | null =>
  /^[\d.]+$/.test(row[column] ?? '') ? csvNumber(row, column, 'measurements') : null;

interface Common {
  readonly set: RowSet;
  readonly machine: string;
  readonly model: string;
  readonly quant: string;
  readonly build: SpeedRow['build'];
  readonly devices?: number;
  readonly backend?: SpeedRow['backend'];
  readonly isSplit?: boolean;
  readonly excluded?: string | null;
}

interface Test {
  readonly kind: SpeedRow['kind'];
  readonly name: string;
  readonly tps: number | null;
  readonly tokens?: number;
  readonly depth?: number;
  readonly batch?: number;
  readonly excluded?: string | null;
}

function makeRow(common: Common, test: Test): SpeedRow[] {
  if (test.tps === null) return [];
  const devices = common.devices ?? 1;
  const machine = devices === 1 ? common.machine : `${common.machine} × ${devices}`;
  const backend = common.backend ?? 'llama.cpp';
  const engine = backend === 'llama.cpp' ? '' : ` ${backend}`;
  return [
    {
      label: `${machine} ${common.model} ${common.quant}${engine} ${test.name}`,
      set: common.set,
      machine: common.machine,
      devices,
      model: common.model,
      quant: common.quant,
      kind: test.kind,
      batch: test.batch ?? 1,
      depth: test.depth ?? 0,
      tokens: test.tokens ?? 0,
      measuredTps: test.tps,
      build: common.build,
      backend,
      isSplit: common.isSplit ?? false,
      excluded: test.excluded ?? common.excluded ?? null,
    },
  ];
}

const decode = (name: string, tps: number | null, depth: number): Test => ({
  kind: 'decode',
  name,
  tps,
  depth,
});
const prefill = (name: string, tps: number | null, tokens: number): Test => ({
  kind: 'prefill',
  name,
  tps,
  tokens,
});

const slug = (text: string): string => text.toLowerCase().replace(/ /g, '-');

function appleRows(row: CsvRow): SpeedRow[] {
  const machine = `${slug(row.chip ?? '')}-${row.gpu_cores}c`;
  const build = row.chip?.startsWith('M5') === true ? 'current' : 'early';
  return ['F16', 'Q8_0', 'Q4_0'].flatMap((quant) => {
    const common: Common = {
      ...{ set: 'llama-2-7b-apple', machine, model: 'llama-2-7b', quant, build },
    };
    const column = quant.toLowerCase();
    return [
      ...makeRow(common, decode('tg128', number(row, `${column}_tg128_tps`), 64)),
      ...makeRow(common, prefill('pp512', number(row, `${column}_pp512_tps`), 512)),
    ];
  });
}

const LLAMA3_MACHINES: ReadonlyMap<string, string> = new Map([
  ['3070 8GB', 'rtx-3070'],
  ['4070 Ti 12GB', 'rtx-4070-ti'],
  ['4080 16GB', 'rtx-4080'],
  ['RTX 4000 Ada 20GB', 'rtx-4000-ada'],
  ['3090 24GB', 'rtx-3090'],
  ['RTX 5000 Ada 32GB', 'rtx-5000-ada'],
  ['RTX 6000 Ada 48GB', 'rtx-6000-ada'],
  ['A40 48GB', 'a40'],
  ['L40S 48GB', 'l40s'],
  ['A100 PCIe 80GB', 'a100-pcie-80gb'],
  ['H100 PCIe 80GB', 'h100-pcie'],
  ['M1 7-Core GPU 8GB', 'm1-7c'],
  ['M1 Max 32-Core GPU 64GB', 'm1-max-32c'],
]);

function llama3Rows(row: CsvRow): SpeedRow[] {
  const [name = '', count = '1'] = (row.gpu ?? '').split(' * ');
  const machine = LLAMA3_MACHINES.get(name);
  if (machine === undefined) throw new Error(`llama3-gpus: unknown machine ${name}`);
  const model = row.model === 'llama-3-8b' ? 'llama-3.1-8b' : 'llama-3.3-70b';
  const quant = row.quant ?? '';
  const devices = Number(count);
  const common: Common = { set: 'llama-3-all', machine, devices, model, quant, build: 'early' };
  const test = (tokens: number, suffix: string): SpeedRow[] => {
    const outliers = { machine, devices, model, quant };
    const decoded = number(row, `tg${tokens}${suffix}`);
    const read = number(row, `pp${tokens}${suffix}`);
    return [
      // tgN begins with an empty cache: on average half of N is there.
      ...makeRow(
        { ...common, excluded: decodeOutlier(outliers) },
        {
          ...decode(`tg${tokens}`, decoded, tokens / 2),
        },
      ),
      ...makeRow(
        { ...common, excluded: prefillOutlier(outliers) },
        {
          ...prefill(`pp${tokens}`, read, tokens),
        },
      ),
    ];
  };
  return [...test(512, ''), ...test(1024, '_tps'), ...test(4096, ''), ...test(8192, '')];
}

interface Where {
  readonly machine: string;
  readonly devices: number;
  readonly model: string;
  readonly quant: string;
}

function decodeOutlier({ machine, quant }: Where): string | null {
  if (machine === 'm1-7c') return M1_SWAPS;
  if (machine === 'm1-max-32c' && quant === 'Q4_K_M') return M1_MAX_SLOW;
  return null;
}

const M1_SWAPS =
  'gets faster with more context (9.7, 10.2, 11.8 tok/s): 4.9 of 8 GB are weights, so it is not ' +
  'the GPU that is measured';
const M1_MAX_SLOW =
  'the same chip and file in a Mac Studio decode the 70B at 7.25 tok/s against 4.34 here ' +
  '(large-models-apple)';
const POWER = 'a third of the same card’s quantised speed and rising with length: throttled';
const A40_RISES = 'rises with length (209 to 291 tok/s) where attention grows: throttled or shared';
const LINK = 'half the speed of 6 cards of the kind: the link of this machine, not the cards';

function prefillOutlier({ machine, devices, model, quant }: Where): string | null {
  if (machine === 'm1-7c') return M1_SWAPS;
  if (machine === 'm1-max-32c' && quant === 'Q4_K_M') return M1_MAX_SLOW;
  if (machine === 'l40s' && quant === 'F16') return POWER;
  if (machine === 'rtx-5000-ada' && devices === 4 && quant === 'F16') return POWER;
  if (machine === 'a40' && model === 'llama-3.3-70b' && quant === 'Q4_K_M') return A40_RISES;
  if (machine === 'rtx-3090' && devices === 4 && model === 'llama-3.3-70b') return LINK;
  return null;
}

const BENCH_MACHINES: ReadonlyMap<string, string> = new Map([
  ['M2 Ultra 76c 192GB', 'm2-ultra-76c'],
  ['M2 Ultra 192GB', 'm2-ultra-76c'],
  ['DGX Spark (GB10)', 'gb10-dgx-spark'],
  ['M3 Ultra 80c 512GB', 'm3-ultra-80c'],
  ['M4 Max 36GB', 'm4-max-32c'],
  ['M1 Max 64GB', 'm1-max-32c'],
  ['M1 Pro 32GB', 'm1-pro-16c'],
  ['M5 (10c, MacBook Pro 14)', 'm5-10c'],
  ['RTX PRO 6000 Blackwell', 'rtx-pro-6000-blackwell'],
  ['RTX PRO 6000 96GB', 'rtx-pro-6000-blackwell'],
  ['H100 80GB', 'h100-sxm'],
  ['A100 80GB', 'a100-80gb'],
  ['RTX 5090', 'rtx-5090'],
  ['RTX 5090 32GB', 'rtx-5090'],
  ['RTX 5080', 'rtx-5080'],
  ['RTX 5080 16GB', 'rtx-5080'],
  ['RTX 5070 Ti', 'rtx-5070-ti'],
  ['RTX 5070 Ti 16GB', 'rtx-5070-ti'],
  ['RTX 5060 Ti', 'rtx-5060-ti'],
  ['RTX 4080 SUPER 16GB', 'rtx-4080-super'],
  ['RTX 4070 Ti SUPER 16GB', 'rtx-4070-ti-super'],
  ['RTX 4060 Ti 8GB', 'rtx-4060-ti'],
  ['RTX 3060 12GB', 'rtx-3060'],
  ['RTX 3090', 'rtx-3090'],
  ['RTX 3090 24GB', 'rtx-3090'],
  ['RX 7900 XTX', 'rx-7900-xtx'],
  ['RX 9070 XT', 'rx-9070-xt'],
  ['RX 9070', 'rx-9070'],
  ['Ryzen AI Max+ 395', 'strix-halo-395'],
]);

const BENCH_MODELS: ReadonlyMap<string, readonly [model: string, quant: string]> = new Map([
  ['gpt-oss-20b MXFP4', ['gpt-oss-20b', 'MXFP4']],
  ['gpt-oss-120b MXFP4', ['gpt-oss-120b', 'MXFP4']],
  ['Qwen2.5-Coder-7B Q8_0 (dense)', ['qwen2.5-7b', 'Q8_0']],
  ['Qwen2.5-Coder-7B Q8_0', ['qwen2.5-7b', 'Q8_0']],
  ['Qwen3-Coder-30B-A3B Q8_0', ['qwen3-30b-a3b', 'Q8_0']],
  ['llama-2-7b Q4_0', ['llama-2-7b', 'Q4_0']],
  ['mistral-7b Q4_0', ['mistral-7b-v0.3', 'Q4_0']],
]);

function benchCommon(row: CsvRow, set: RowSet): Common | null {
  const machine = BENCH_MACHINES.get(row.device ?? '');
  const model = BENCH_MODELS.get(row.model_quant ?? '');
  if (machine === undefined || model === undefined) return null;
  return { set, machine, model: model[0], quant: model[1], build: 'current' };
}

function batchedRows(row: CsvRow): SpeedRow[] {
  const common = benchCommon(row, 'batched');
  if (common === null) throw new Error(`batched-decode: unknown ${row.device} ${row.model_quant}`);
  const batch = Number(row.batch);
  const depth = Number(row.prompt_tokens_per_seq) + Number(row.gen_tokens) / 2;
  const tps = number(row, 'decode_total_tps');
  return makeRow(common, { ...decode(`tg32 batch ${batch}`, tps, depth), batch });
}

function depthRows(row: CsvRow): SpeedRow[] {
  const common = benchCommon(row, 'depth');
  if (common === null) throw new Error(`depth-decay: unknown ${row.device} ${row.model_quant}`);
  const depth = Number(row.context_depth_tokens);
  const read = prefill(`pp2048 at ${depth}`, number(row, 'pp2048_tps'), 2048);
  return [
    ...makeRow(common, decode(`tg32 at ${depth}`, number(row, 'tg32_tps'), depth + 16)),
    ...makeRow(common, { ...read, depth }),
  ];
}

function otherRows(row: CsvRow): SpeedRow[] {
  const common = benchCommon(row, 'others');
  if (common === null) return [];
  const backend = row.backend ?? '';
  if (backend === 'Vulkan' && common.machine.startsWith('rtx')) return [];
  if (backend.startsWith('HIP')) return [];
  if (backend === 'CPU') return [];
  const where = common;
  const promptTokens = Number((row.pp_test ?? '').slice(2));
  const decodeTokens = Number((row.tg_test ?? '').slice(2));
  return [
    ...makeRow(where, {
      ...decode(row.tg_test ?? '', number(row, 'tg_tps'), decodeTokens / 2),
    }),
    ...makeRow(where, { ...prefill(row.pp_test ?? '', number(row, 'pp_tps'), promptTokens) }),
  ];
}

const LARGE_MODELS: ReadonlyMap<string, readonly [model: string, quant: string]> = new Map([
  ['llama3.1:70b', ['llama-3.3-70b', 'Q4_K_M']],
  ['llama-3.3-70b', ['llama-3.3-70b', 'Q4_K_M']],
  ['llama-3.1-70b', ['llama-3.3-70b', 'MLX_4BIT']],
  ['gemma-3-27b-qat', ['gemma-3-27b', 'MLX_4BIT']],
  ['llama-3.1-8b', ['llama-3.1-8b', 'MLX_4BIT']],
  ['deepseek-r1:14b', ['qwen2.5-14b', 'Q4_K_M']],
  ['llama3.2:3b', ['llama-3.2-3b', 'Q4_K_M']],
  ['llama3.1:8b', ['llama-3.1-8b', 'Q4_K_M']],
  ['gpt-oss-120b', ['gpt-oss-120b', 'MXFP4']],
  ['gpt-oss-20b', ['gpt-oss-20b', 'MXFP4']],
]);
const HARNESS =
  'a prompt of 73 tokens: the harness’s own 57 ms, the same for both models, dominate';
const LARGE_CHIPS: ReadonlyMap<string, string> = new Map([
  ['GB10 ', 'gb10-dgx-spark'],
  ['Ryzen AI Max+ 395 40', 'strix-halo-395'],
  ['RTX 4090 24GB + DDR5 ', 'rtx-4090'],
]);

/** Rows of the other files again (gpt-oss on llama.cpp, Llama 3 of May 2024) are left out. */
function largeRows(row: CsvRow): SpeedRow[] {
  const engine = row.engine ?? '';
  const model = LARGE_MODELS.get(row.model ?? '');
  const isRepeated = engine.includes('May 2024') || engine.includes('Aug 2025');
  if (model === undefined || isRepeated || row.spec_decode !== '' || row.quant === 'NVFP4')
    return [];
  const chip = `${row.chip} ${row.gpu_cores}`;
  const machine = LARGE_CHIPS.get(chip) ?? `${slug(row.chip ?? '')}-${row.gpu_cores}c`;
  if (!/^(m\d|gb10|strix|rtx)/.test(machine) || machine.endsWith('-c')) return [];
  const isSplit = row.chip?.endsWith('DDR5') ?? false;
  const backend = isSplit ? 'cpu' : /mlx/i.test(engine) ? 'mlx' : 'llama.cpp';
  const [name, quant] = model;
  const common: Common = {
    ...{ set: 'large-apple', machine, model: name, quant, build: 'current', backend },
    isSplit,
    excluded:
      name === 'gpt-oss-20b' && engine === 'Ollama' ? 'the same as in the other file' : null,
  };
  const prompt = number(row, 'prompt_tokens');
  return [
    ...makeRow(common, decode(`decode at ${prompt ?? 0}`, number(row, 'decode_tps'), prompt ?? 64)),
    ...(prompt === null
      ? []
      : makeRow(common, {
          ...prefill(`prompt of ${prompt}`, number(row, 'prefill_tps'), prompt),
          ...(prompt < 100 ? { excluded: HARNESS } : {}),
        })),
  ];
}
