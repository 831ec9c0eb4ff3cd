/** Writes docs/how-speed-is-predicted.md and its plots from the committed parameters. */
import { writeFileSync } from 'node:fs';
import { explainPage, explainPlots } from './speed-explained.ts';

const DOCS = new URL('../docs/', import.meta.url);
writeFileSync(new URL('how-speed-is-predicted.md', DOCS), explainPage());
for (const [name, svg] of explainPlots()) writeFileSync(new URL(name, DOCS), svg);
