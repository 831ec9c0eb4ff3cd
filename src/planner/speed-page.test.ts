/** The generated page on speed says what the model says. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { explainPage, explainPlots } from '../../tools/speed-explained.ts';

const doc = (name: string): string =>
  readFileSync(new URL(`../../docs/${name}`, import.meta.url), 'utf8');

it('docs/how-speed-is-predicted.md is what `node tools/speed-doc.ts` writes', () => {
  expect(doc('how-speed-is-predicted.md')).toBe(explainPage());
  for (const [name, svg] of explainPlots()) expect(doc(name)).toBe(svg);
});
