#!/usr/bin/env node
/**
 * Start of the `plenum` process: compile cache first, then the program, then the exit code. It
 * holds no command.
 */
import { readFileSync } from 'node:fs';
import { enableCompileCache } from 'node:module';

enableCompileCache();

const { processContext } = await import('./process-context.ts');
const { runProgram } = await import('./program.ts');

const manifest: unknown = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
);
const version =
  typeof manifest === 'object' && manifest !== null && 'version' in manifest
    ? String(manifest.version)
    : 'unknown';

const exitCode = await runProgram(process.argv.slice(2), processContext(version));
process.stdout.write('', () => process.exit(exitCode));
