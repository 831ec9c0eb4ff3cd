/**
 * A classifier's row of logits as a verdict: which labels mean harm, and how logits become scores.
 */
import { PlenumError } from '../base/errors.ts';
import type { CategoryScore } from '../wire/guard.ts';

export interface LabelSettings {
  /** `auto`: one label for harmless text among several means softmax, else each for itself. */
  readonly activation: 'auto' | 'softmax' | 'sigmoid';
  /** Labels of harmless text; null = recognised by their names. */
  readonly safeLabels: readonly string[] | null;
}

/** Names that published classifiers give to harmless text. */
const HARMLESS =
  /^(safe|benign|neutral|normal|clean|ok|okay|none|harmless|sfw|ham|legit|(not?|non)[-_ ]?\w+)$/i;

const sigmoid = (logit: number): number => 1 / (1 + Math.exp(-logit));

function softmax(row: readonly number[]): number[] {
  const max = Math.max(...row);
  const weights = row.map((logit) => Math.exp(logit - max));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / sum);
}

/** `LABEL_0` of a pair is harmless by custom: 0 is "no". */
function isHarmless(label: string, labels: readonly string[], settings: LabelSettings): boolean {
  if (settings.safeLabels !== null) return settings.safeLabels.includes(label);
  return HARMLESS.test(label) || (labels.length === 2 && label === 'LABEL_0');
}

/**
 * Score = probability of any harm: with softmax the sum of the harmful labels, else the highest.
 * Throws PlenumError `engine_failed` for a row that is not one finite number per label, and
 * `model_unsupported` when no label means harm.
 */
export function readLabels(
  row: Float32Array,
  labels: readonly string[],
  settings: LabelSettings,
): { readonly score: number; readonly categories: readonly CategoryScore[] } {
  const logits = Array.from(row);
  if (logits.length !== labels.length || !logits.every(Number.isFinite)) {
    const message = `a classifier of ${labels.length} labels gave ${logits.length} numbers, or none`;
    throw new PlenumError('engine_failed', message);
  }
  const harmless = labels.map((label) => isHarmless(label, labels, settings));
  const together =
    settings.activation === 'softmax' ||
    (settings.activation === 'auto' && labels.length > 1 && harmless.includes(true));
  const scores = together ? softmax(logits) : logits.map(sigmoid);
  const categories = labels.flatMap((name, index) =>
    harmless[index] === true ? [] : [{ name, score: scores[index] ?? 0 }],
  );
  if (categories.length === 0) {
    const known = labels.join(', ');
    const message = `none of the labels ${known} means harm; set moderation.safe_labels`;
    throw new PlenumError('model_unsupported', message);
  }
  const harms = categories.map((one) => one.score);
  const sum = harms.reduce((a, b) => a + b, 0);
  return { score: together ? Math.min(1, sum) : Math.max(...harms), categories };
}
