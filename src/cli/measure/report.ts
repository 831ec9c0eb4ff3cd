/** A profile as a person reads it: rates, then each step measured, predicted, and its spread. */
import { formatMillis } from '../../base/units.ts';
import type { MachineProfile, ProfileStep } from '../../wire/profile.ts';
import type { CliOutput } from '../context.ts';
import { columns, paragraph } from '../planning/columns.ts';

/** Above it a measurement says little. */
const SPREAD_PCT_NOISY = 20;

/** `path` is where it was stored; null when it was not. */
export function reportProfile(
  profile: MachineProfile,
  path: string | null,
  output: CliOutput,
): string {
  const { machine, engine, device, bandwidth, opsPerSecond, errorPct, steps } = profile;
  const head = ['MODEL', 'STEP', 'MEASURED', 'SPREAD', 'PREDICTED', 'ERROR'];
  const rows = steps.map((step) => [
    step.model,
    stepText(step),
    formatMillis(step.measuredMs),
    `${step.spreadPct.toFixed(0)} %`,
    formatMillis(step.predictedMs),
    errorText(step),
  ]);
  const noisy = steps.filter(({ spreadPct }) => spreadPct > SPREAD_PCT_NOISY).length;
  const gigabytes = (bandwidth.bytesPerSecond / 1e9).toFixed(1);
  const lines = [
    `${machine.cpu}, ${machine.cores} cores; ${engine}, ${device}`,
    `memory: ${gigabytes} GB/s read in a stream (spread ${bandwidth.spreadPct.toFixed(0)} %)`,
    `compute: ${(opsPerSecond / 1e9).toFixed(1)} GFLOP/s in the best step`,
    `not measured, taken from the nearest kind: ${missing(profile).join(', ') || 'nothing'}`,
  ];
  const tail = [
    `Predicted by one fit of all steps: off by ${errorPct.decode.toFixed(1)} % (decode) and ` +
      `${errorPct.prefill.toFixed(1)} % (prefill), root mean square. Measured is the ` +
      'mean of the middle half; the spread is the distance of the quartiles.',
    ...(noisy === 0
      ? []
      : [
          `${noisy} of ${steps.length} steps spread by more than ${SPREAD_PCT_NOISY} %: the ` +
            'machine was busy. Close other programs and measure again.',
        ]),
    path === null ? 'Not stored.' : `Stored: ${path}`,
  ];
  const right = [2, 3, 4, 5];
  const text = (all: readonly string[]): string =>
    all.map((line) => paragraph(line, output, { hang: 2 })).join('');
  return `${text(lines)}\n${columns(head, rows, output, { right })}\n${text(tail)}`;
}

function stepText({ sequences, tokensEach, depth }: ProfileStep): string {
  const deep = depth === 0 ? '' : `, ${depth} deep`;
  if (tokensEach === 1) return `decode × ${sequences}${deep}`;
  return `prefill ${sequences > 1 ? `${sequences} × ` : ''}${tokensEach}${deep}`;
}

function errorText({ predictedMs, measuredMs }: ProfileStep): string {
  const percent = 100 * (predictedMs / measuredMs - 1);
  return `${percent >= 0 ? '+' : '−'}${Math.abs(percent).toFixed(0)} %`;
}

const KIND_WORDS = {
  float: 'F16',
  q8: 'Q8_0',
  q4: 'Q4_0',
  k: 'K quantisations',
  k6: 'Q6_K',
  mx: 'MXFP4',
} as const;

function missing({ kinds, expertKinds }: MachineProfile): string[] {
  const all = Object.keys(KIND_WORDS) as (keyof typeof KIND_WORDS)[];
  const without = (known: readonly string[]) => all.filter((kind) => !known.includes(kind));
  const names = without(kinds).map((kind) => KIND_WORDS[kind]);
  if (expertKinds.length === 0) return [...names, 'mixtures of experts'];
  return [...names, ...without(expertKinds).map((kind) => `experts of ${KIND_WORDS[kind]}`)];
}
