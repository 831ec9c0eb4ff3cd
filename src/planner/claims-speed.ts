/** The claims on bandwidth, tokens per second and arithmetic (a, b, b2, c, i, j, l, m). */
import { defined } from '../base/assert.ts';
import type { CatalogueMachine } from '../model/catalogue-types.ts';
import type { ModelGeometry } from '../model/geometry.ts';
import { geometryOfModel } from './architecture.ts';
import type { Claim, ClaimsInput } from './claim.ts';
import { findMachine, findModel } from './lookup.ts';
import { type Plan, planModel } from './plan.ts';
import { layersOnDevice } from './split.ts';

/** What the article says. */
export const ARTICLE = { macTps: 28, macPriceUsd: 2799, pcTps: 10, pcPriceUsd: 5200 } as const;
const CHAT_CONTEXT = 8192;

export const llama70b = ({ catalogue }: ClaimsInput): ModelGeometry =>
  geometryOfModel(findModel(catalogue, 'llama-3.3-70b'), 'Q4_K_M');

interface Ask {
  readonly promptTokens?: number;
  readonly users?: number;
  readonly cachedTokens?: number;
}

/** The 70B at 4 bits on the article's Mac. */
export function onMac(input: ClaimsInput, ask: Ask = {}): Plan {
  return planModel({
    model: { geometry: llama70b(input), contextTokens: CHAT_CONTEXT },
    setup: { machine: findMachine(input.catalogue, 'm4-max-40c'), memoryGib: 64 },
    table: input.table,
    traffic: { users: 1, promptTokens: 512, outputTokens: 128, ...ask },
    utilisation: 1,
  });
}

/** The same on an RTX 4090 with two channels of DDR5. */
export function onPc(input: ClaimsInput): Plan {
  return planModel({
    model: { geometry: llama70b(input), contextTokens: CHAT_CONTEXT },
    setup: {
      machine: findMachine(input.catalogue, 'rtx-4090'),
      system: { memoryGib: 128, bandwidthBytesPerSecond: ddr5(input) },
    },
    table: input.table,
    traffic: { users: 1, promptTokens: 512, outputTokens: 128 },
    utilisation: 1,
  });
}

function ddr5({ catalogue }: ClaimsInput): number {
  const figure = catalogue.prices.find(({ item }) => item === 'ddr5-dual');
  return defined(figure, 'ddr5-dual').value * 1e9;
}

export const gb = (bytes: number): string => `${(bytes / 1e9).toFixed(1)}e9 B`;
const digits = (value: number, n = 3): string => String(Number(value.toPrecision(n)));

export function speedClaims(input: ClaimsInput): readonly Claim[] {
  return [
    bandwidthClaim(input),
    decodeClaim(input),
    firstTokenClaim(input),
    offloadClaim(input),
    intensityClaim(input),
    {
      id: 'j',
      claim: 'MLX runs within 5–10 % of hand-written Metal',
      verdict: 'no source',
      because: [
        'No source is given. Published ratios of the two engines span 0.78–1.35 by model.',
        'No two rows of data/measurements have both engines on one machine with one file.',
      ],
    },
    pcieClaim(),
    {
      id: 'm',
      claim: 'MLX schedules work on CPU, GPU and Neural Engine',
      verdict: 'false',
      because: ['MLX has two kinds of device, cpu and gpu; none of them is the Neural Engine.'],
    },
  ];
}

function bandwidthClaim({ catalogue }: ClaimsInput): Claim {
  const bits = 256;
  const rate = (megatransfers: number): number => (bits / 8) * megatransfers * 1e-3;
  const listed = findMachine(catalogue, 'm4-pro-20c').bandwidth?.value ?? 0;
  const lpddr5x = rate(8533);
  return {
    id: 'a',
    claim: 'M4 Pro: 273 GB/s',
    verdict: Math.abs(lpddr5x - listed) < 1 ? 'true' : 'false',
    because: [
      `${bits} bit × LPDDR5X-8533 = ${lpddr5x.toFixed(1)} GB/s; the catalogue has ${listed}.`,
      `LPDDR5-6400, which the article names, would give ${rate(6400).toFixed(1)}.`,
    ],
  };
}

function decodeClaim(input: ClaimsInput): Claim {
  const { speed } = onMac(input);
  const machine = findMachine(input.catalogue, 'm4-max-40c');
  const bandwidth = machine.bandwidth?.value ?? 0;
  const file = llama70b(input).weights.bytes / 1e9;
  const shares = measuredShares(input, file);
  const low = Math.min(...shares);
  const high = Math.max(...shares);
  const ceiling = bandwidth / file;
  return {
    id: 'b',
    claim: 'M4 Max 64 GB: Llama 3 70B at 4 bits at 28 tok/s',
    verdict: speed.limitTps < ARTICLE.macTps ? 'false' : 'true',
    because: [
      `${ARTICLE.macTps} × 40e9 B = ${ARTICLE.macTps * 40} GB/s; the machine has ${bandwidth}.`,
      `A Q4_K_M file has ${digits(file)}e9 B: at most ${bandwidth}/${digits(file)} = ` +
        `${digits(ceiling)} tok/s, ${digits(speed.limitTps)} without the embedding table, which ` +
        'is not read whole. Only speculation goes beyond.',
      `Neighbours measure ${low.toFixed(2)}–${high.toFixed(2)} of that: ` +
        `${digits(low * ceiling)}–${digits(high * ceiling)} tok/s.`,
      `Predicted: ${digits(speed.decodeTps)} tok/s ± ${digits(speed.errorPct.decode, 2)} %, ` +
        `bound by ${speed.binding}.`,
    ],
  };
}

/** Measured decode of the file on Apple machines, over bandwidth / bytes. */
function measuredShares({ measured }: ClaimsInput, fileGigabytes: number): number[] {
  return measured.flatMap((row) => {
    const isFile = /70b/.test(row.model ?? '') && (row.quant ?? '').startsWith('Q4_K_M');
    const isApple = /^M\d/.test(row.chip ?? '') && !(row.engine ?? '').includes('May 2024');
    const tps = Number(row.decode_tps);
    const bandwidth = Number(row.bandwidth_GBps);
    const isMeasured = (row.confidence ?? '').startsWith('measured');
    return isFile && isApple && isMeasured && tps > 0 ? [(tps * fileGigabytes) / bandwidth] : [];
  });
}

function firstTokenClaim(input: ClaimsInput): Claim {
  const cold = onMac(input).speed;
  const prefillTps = cold.prefillTps ?? 0;
  const reach = (ms: number): number => {
    let tokens = 1;
    while (tokens < 512 && (onMac(input, { promptTokens: tokens + 1 }).speed.ttftMs ?? 0) <= ms) {
      tokens += 1;
    }
    return tokens;
  };
  const seconds = ((cold.ttftMs ?? 0) / 1e3).toFixed(1);
  const warm = onMac(input, { cachedTokens: 512 - 32 }).speed.warmTtftMs ?? 0;
  return {
    id: 'b2',
    claim: '… with 350–500 ms to the first token',
    verdict: 'partly',
    because: [
      `Predicted prefill is ${digits(prefillTps)} tok/s: 512 tokens take ${seconds} s.`,
      `Cold, ${reach(350)} tokens of prompt are read in 350 ms and ${reach(500)} in 500 ms.`,
      `Warm it can be: with 480 of 512 tokens cached, ${digits(warm)} ms.`,
    ],
  };
}

function offloadClaim(input: ClaimsInput): Claim {
  const plan = onPc(input);
  const { speed } = plan;
  const { systemShare, totalMs } = speed.decodeTerms;
  const geometry = llama70b(input);
  const layers = geometry.layers.length;
  const card = findMachine(input.catalogue, 'rtx-4090');
  const available = plan.memory.availableBytes;
  const deviceItems = plan.memory.items.filter(({ memory }) => memory === 'device');
  const sum = (name: string): number =>
    deviceItems.reduce((total, item) => total + (item.name === name ? item.bytes : 0), 0);
  const fixed = sum('compute buffers');
  const layerBytes = sum('weights') + sum('KV cache');
  const onCard = layersOnDevice({ layers, layerBytes, deviceBytes: available - fixed });
  const left = (sum('weights') * (layers - onCard)) / layers;
  const deviceMs = totalMs * (1 - systemShare);
  const needed = left / ((1e3 / ARTICLE.pcTps - deviceMs) / 1e3) / 1e9;
  return {
    id: 'c',
    claim: 'RTX 4090 24 GB with 128 GB of DDR5: 10 tok/s on the same model',
    verdict: speed.decodeTps < 0.8 * ARTICLE.pcTps ? 'false' : 'true',
    because: [
      `${gb(available)} of VRAM hold ${onCard} of ${layers} layers; ${gb(left)} of weights stay ` +
        `in system memory of ${(ddr5(input) / 1e9).toFixed(1)} GB/s.`,
      `A token takes ${deviceMs.toFixed(0)} ms on the card (${card.bandwidth?.value} GB/s) and ` +
        `${(totalMs - deviceMs).toFixed(0)} ms in system memory: ${digits(speed.decodeTps, 2)} ` +
        'tok/s; 3.1 were measured (the row that the share of DDR5 is fitted to).',
      `${ARTICLE.pcTps} tok/s take ${needed.toFixed(0)} GB/s of effective system memory.`,
    ],
  };
}

function intensityClaim(input: ClaimsInput): Claim {
  const model = findModel(input.catalogue, 'llama-3.3-70b');
  const intensity = (quant: string): number => {
    const { parameters, bytes } = geometryOfModel(model, quant).weights;
    return (2 * parameters) / bytes;
  };
  const machine: CatalogueMachine = findMachine(input.catalogue, 'm4-max-40c');
  const share = input.table[machine.family]?.matrixShare.k ?? 1;
  const ops = (machine.matrixTflops?.value ?? 0) * 1e12 * share;
  const ridge = ops / ((machine.bandwidth?.value ?? 0) * 1e9);
  const k = intensity('Q4_K_M');
  return {
    id: 'i',
    claim: 'Arithmetic intensity below 10 FLOP per byte at batch 1',
    verdict: k < 10 ? 'true' : 'false',
    because: [
      `2 × parameters / bytes: ${intensity('F16').toFixed(1)} at F16, ` +
        `${intensity('Q8_0').toFixed(1)} at Q8_0, ${k.toFixed(1)} at Q4_K_M, ` +
        `${intensity('Q4_0').toFixed(1)} at Q4_0.`,
      `The machine sustains ${digits(ops / 1e12)} TFLOPS over ${machine.bandwidth?.value} GB/s: ` +
        `its ridge is at ${ridge.toFixed(0)}, so a batch of about ${(ridge / k).toFixed(0)} ` +
        'becomes bound by compute.',
    ],
  };
}

/** 16 GT/s on 16 lanes with 128b/130b coding. */
const PCIE4_X16_GBPS = (16 * 16 * (128 / 130)) / 8;

function pcieClaim(): Claim {
  const seconds = 26 / PCIE4_X16_GBPS;
  return {
    id: 'l',
    claim: 'PCIe 4.0 x16 at 32 GB/s copies a 26 GB model in about 1 s, on each request',
    verdict: 'partly',
    because: [
      `26e9 B / ${PCIE4_X16_GBPS.toFixed(1)} GB/s = ${seconds.toFixed(2)} s.`,
      'Weights are copied once, when the model is loaded; a request sends its tokens.',
    ],
  };
}
