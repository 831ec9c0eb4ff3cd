/**
 * Where the layers of a model run: one device, several of a kind, or a device and the host's own
 * memory. A decode step passes through the stages one after the other; the chunks of a prompt
 * overlap in them. Pure.
 */
import type { ModelCost } from './model-cost.ts';
import {
  type Device,
  type StepOptions,
  type StepShape,
  type StepTerms,
  stepTerms,
} from './step-cost.ts';

export interface Stage {
  readonly device: Device;
  /** Share of the layers, and so of the weights, cache and kernels; the shares sum to 1. */
  readonly share: number;
  readonly memory: 'device' | 'system';
}

export interface Placement {
  readonly stages: readonly Stage[];
  /** Between two stages, one way. */
  readonly linkBytesPerSecond: number;
}

/** Fixed time of handing activations to the next stage: 0.16–0.3 ms from 1 to 6 RTX 3090. */
export const HOP_MS = 0.2;
/**
 * How much of the ideal overlap the chunks of a prompt reach on several devices: the value that
 * predicts the prompts of 2 to 6 cards in data/measurements/llama3-gpus.csv best, of 0.3 to 1.
 */
const PIPELINE_OVERLAP = 0.8;
/** Activations cross a link as F32. */
const ACTIVATION_BYTES = 4;
/** Tokens of a prompt that llama.cpp computes at once (n_ubatch). */
export const CHUNK_TOKENS = 512;

export const singleDevice = (device: Device): Placement => ({
  stages: [{ device, share: 1, memory: 'device' }],
  linkBytesPerSecond: Number.POSITIVE_INFINITY,
});

/** `count` devices of a kind with an equal share of the layers each. */
export function layerSplit(device: Device, count: number, linkBytesPerSecond: number): Placement {
  const stage: Stage = { device, share: 1 / count, memory: 'device' };
  return { stages: Array.from({ length: count }, () => stage), linkBytesPerSecond };
}

export interface PlacedTerms extends StepTerms {
  /** Time on links between stages. */
  readonly linkMs: number;
  /** Share of the total that layers in system memory take. */
  readonly systemShare: number;
}

export interface StepAsk {
  readonly shape: StepShape;
  readonly cost: ModelCost;
  readonly placement: Placement;
  readonly options?: StepOptions | undefined;
}

/** One step through all stages, one after the other. */
export function placedStep({ shape, cost, placement, options }: StepAsk): PlacedTerms {
  const hopMs = hop(placement, shape.tokens * cost.width * ACTIVATION_BYTES);
  const linkMs = (placement.stages.length - 1) * hopMs;
  const sum = { totalMs: linkMs, bandwidthMs: 0, computeMs: 0, overheadMs: 0, limitMs: 0 };
  let systemMs = 0;
  for (const { device, share, memory } of placement.stages) {
    const terms = stepTerms(shape, cost, device, options);
    sum.totalMs += share * terms.totalMs;
    sum.bandwidthMs += share * terms.bandwidthMs;
    sum.computeMs += share * terms.computeMs;
    sum.overheadMs += share * terms.overheadMs;
    sum.limitMs += share * terms.limitMs;
    if (memory === 'system') systemMs += share * terms.totalMs;
  }
  return { ...sum, linkMs, systemShare: systemMs / sum.totalMs };
}

function hop(placement: Placement, bytes: number): number {
  if (placement.stages.length === 1) return 0;
  return HOP_MS + (1e3 * bytes) / placement.linkBytesPerSecond;
}

export interface PromptAsk {
  readonly cost: ModelCost;
  readonly placement: Placement;
  /** Tokens to compute. */
  readonly tokens: number;
  /** Tokens before them whose cells are there already: a cached prefix, or the depth. */
  readonly cached: number;
  readonly options?: StepOptions | undefined;
}

/**
 * A prompt in chunks. With several stages the chunks follow each other through them like parts on
 * a belt: the slowest stage sets the pace, and the others are waited for once. Layers in system
 * memory are copied over the link for each chunk and computed by the device.
 */
export function placedPrompt(ask: PromptAsk): PlacedTerms {
  const { placement, tokens, cached, cost } = ask;
  const sum = { bandwidthMs: 0, computeMs: 0, overheadMs: 0, limitMs: 0, linkMs: 0 };
  const onDevice = deviceOnly(placement);
  const copyMs = copyMillis(cost, placement);
  const pace = Math.max(...onDevice.stages.map(({ share }) => share));
  let totalMs = 0;
  let fillMs = 0;
  for (let start = 0; start < tokens; start += CHUNK_TOKENS) {
    const chunk = Math.min(CHUNK_TOKENS, tokens - start);
    const attended = chunk * (cached + start) + (chunk * (chunk + 1)) / 2;
    const outputs = start + chunk >= tokens ? 1 : 0;
    const shape: StepShape = { tokens: chunk, sequences: 1, attended, outputs };
    const terms = placedStep({ shape, cost, placement: onDevice, options: ask.options });
    const stagesMs = terms.totalMs - terms.linkMs;
    const paceMs =
      stagesMs * (pace + (1 - PIPELINE_OVERLAP) * (1 - pace)) +
      hop(onDevice, chunk * cost.width * ACTIVATION_BYTES);
    totalMs += paceMs + copyMs;
    fillMs = Math.max(0, terms.totalMs - paceMs);
    sum.linkMs += copyMs;
    for (const key of ['bandwidthMs', 'computeMs', 'overheadMs', 'limitMs', 'linkMs'] as const) {
      sum[key] += terms[key];
    }
  }
  totalMs += fillMs;
  const chunks = Math.ceil(tokens / CHUNK_TOKENS);
  return { ...sum, totalMs, systemShare: totalMs === 0 ? 0 : (chunks * copyMs) / totalMs };
}

/** The placement with the layers of system memory computed by the first stage's device. */
function deviceOnly(placement: Placement): Placement {
  const system = systemLayers(placement);
  const [first, ...others] = placement.stages.filter(({ memory }) => memory === 'device');
  if (system === 0 || first === undefined) return placement;
  return { ...placement, stages: [{ ...first, share: first.share + system }, ...others] };
}

const systemLayers = ({ stages }: Placement): number =>
  stages.reduce((sum, { memory, share }) => sum + (memory === 'system' ? share : 0), 0);

function copyMillis(cost: ModelCost, placement: Placement): number {
  const share = systemLayers(placement);
  if (share === 0 || share === 1) return 0;
  const bytes = cost.dense.bytes + (cost.experts?.bytes ?? 0) + cost.head.bytes;
  return (1e3 * bytes * share) / placement.linkBytesPerSecond;
}
