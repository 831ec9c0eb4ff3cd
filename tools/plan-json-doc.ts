/** Writes docs/plan-json.md from the schema of `plenum plan --json`. A test keeps the page true. */
import { writeFileSync } from 'node:fs';
import { planJsonPage } from './plan-json-page.ts';

writeFileSync(new URL('../docs/plan-json.md', import.meta.url), planJsonPage());
