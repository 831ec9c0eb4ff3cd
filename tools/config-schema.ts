/** Writes schema/plenum.schema.json, which editors use for plenum.yaml. A test keeps it true. */
import { writeFileSync } from 'node:fs';
import { configJsonSchema } from '../src/config/schema.ts';

writeFileSync(
  new URL('../schema/plenum.schema.json', import.meta.url),
  `${JSON.stringify(configJsonSchema(), null, 2)}\n`,
);
