/** The claims on what fits into memory (g, h, k, n). */

import { geometryOfModel } from './architecture.ts';
import { availableMemory, type MacGeneration } from './available.ts';
import type { Claim, ClaimsInput } from './claim.ts';
import { gb, llama70b, onMac } from './claims-speed.ts';
import { findMachine, findModel } from './lookup.ts';
import { memoryNeed } from './memory.ts';
import { type Plan, type PlanModel, planModels } from './plan.ts';

const RAM_BYTES = 64 * 2 ** 30;

const wired = (generation: MacGeneration): number =>
  availableMemory({ kind: 'mac', ramBytes: RAM_BYTES, generation }).availableBytes;

export function memoryClaims(input: ClaimsInput): readonly Claim[] {
  return [embedderClaim(input), batchClaim(input), limitClaim(input), residentClaim(input)];
}

/** The founding case: a 70B with an embedder, a reranker and a guard. */
export function foundingMix(input: ClaimsInput): Plan {
  const small = (id: string, contextTokens: number): PlanModel => ({
    geometry: geometryOfModel(findModel(input.catalogue, id), 'Q8_0'),
    contextTokens,
    parallel: 1,
  });
  return planModels({
    models: [
      { geometry: llama70b(input), contextTokens: 8192, parallel: 1 },
      small('qwen3-0.6b', 2048),
      small('qwen3-0.6b', 2048),
      small('llama-3.2-1b', 2048),
    ],
    setup: { machine: findMachine(input.catalogue, 'm4-max-40c'), memoryGib: 64 },
    table: input.table,
    traffic: { users: 1, promptTokens: 512, outputTokens: 128 },
    utilisation: 1,
  });
}

function limits(): string {
  const older = gb(wired('older'));
  const newer = gb(wired('macos-26'));
  return `Of 64 GiB the GPU may wire ${older} before macOS 26 and ${newer} from it on`;
}

function embedderClaim(input: ClaimsInput): Claim {
  const embedder = geometryOfModel(findModel(input.catalogue, 'llama-2-13b'), 'F16').weights.bytes;
  const chat = llama70b(input).weights.bytes;
  const mix = foundingMix(input);
  const { neededBytes, availableBytes } = mix.memory;
  const fits = mix.fits ? 'fits' : 'does not fit';
  return {
    id: 'g',
    claim: '64 GB hold a 70B at 4 bits (40 GB) and a 13B FP16 embedder (26 GB), 10 GB over',
    verdict: chat + embedder > availableBytes ? 'false' : 'true',
    because: [
      `40 + 26 = 66 > 64. Exactly: ${gb(chat)} + ${gb(embedder)} = ${gb(chat + embedder)}.`,
      `${limits()}.`,
      `What ${fits}: the 70B with 8,192 tokens of context, and an embedder, a reranker and a ` +
        `guard of 0.6 to 1.2 B parameters at Q8_0: ${gb(neededBytes)} of ${gb(availableBytes)}.`,
    ],
  };
}

function batchClaim(input: ClaimsInput): Claim {
  const geometry = llama70b(input);
  const need = memoryNeed({ geometry, contextTokens: 4096, parallel: 8 });
  const cache = need.items.find(({ name }) => name === 'KV cache')?.bytes ?? 0;
  const weights = geometry.weights.bytes;
  const { speed } = onMac(input, { users: 8 });
  const prompt = onMac(input, { promptTokens: 2048 }).speed.ttftMs ?? 0;
  const sum = weights + cache;
  const isOver = (generation: MacGeneration): string =>
    sum > wired(generation) ? 'over' : 'under';
  return {
    id: 'h',
    claim: 'Batches of 4–8 on a 70B in 64 GB, with a latency below 1 s',
    verdict: 'partly',
    because: [
      `Memory: 8 × 4,096 tokens × ${cache / (8 * 4096)} B = ${gb(cache)}, with weights ` +
        `${gb(sum)}: ${isOver('older')} the old limit, ${isOver('macos-26')} the new. ${limits()}.`,
      `Time: between two tokens of a user ${speed.interTokenMs.toFixed(0)} ms at 8 users; a ` +
        `prompt of 2,048 tokens alone takes ${(prompt / 1e3).toFixed(0)} s.`,
    ],
  };
}

function limitClaim({ catalogue }: ClaimsInput): Claim {
  const unified = catalogue.machines.filter(({ kind }) => kind === 'unified');
  const sizes = unified.flatMap(({ name, memory }) =>
    memory.map((figure) => ({ name, gib: figure.value, status: figure.status })),
  );
  const checked = sizes.filter(({ status }) => status !== 'unverified');
  const most = checked.reduce((best, size) => (size.gib > best.gib ? size : best), {
    name: '',
    gib: 0,
    status: 'published',
  });
  return {
    id: 'k',
    claim: 'At most 192 GB of unified memory, and no memory across Macs',
    verdict: most.gib > 192 ? 'partly' : 'true',
    because: [
      `${most.name} is sold with ${most.gib} GB.`,
      'Models are sharded over several Macs; that is not one address space.',
    ],
  };
}

function residentClaim(input: ClaimsInput): Claim {
  const mix = foundingMix(input);
  const parts = mix.models.map(({ model, neededBytes }) => `${model} ${gb(neededBytes)}`);
  return {
    id: 'n',
    claim: 'One machine serves chat, embedding, reranking and safety at once, all resident',
    verdict: mix.fits ? 'true' : 'false',
    because: [
      `${parts.join(' + ')} = ${gb(mix.memory.neededBytes)} of ${gb(mix.memory.availableBytes)}.`,
      'That it is managed well, by bytes and by time, is what this program is for.',
    ],
  };
}
