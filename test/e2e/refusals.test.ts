/** What `plenum serve` refuses before it starts anything: one line that says why, and the code. */
import { open, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, onTestFinished, vi } from 'vitest';
import { ensureModel } from '../../src/model/registry.ts';
import { type LaunchOptions, launch, stopAll, temporaryFolder } from './server.ts';

let folder: string;
let model: Buffer;

beforeAll(async () => {
  folder = await temporaryFolder();
  const { paths } = await ensureModel('synthetic:tiny', { home: folder });
  model = await readFile(paths[0] ?? '');
});
vi.setConfig({ testTimeout: 60_000 });
afterAll(stopAll);

/** Runs until it exits, which it has to do without having started a host. */
async function refusal(args: readonly string[], options: LaunchOptions = {}) {
  const launched = launch(['serve', ...args], { cwd: folder, home: folder, ...options });
  const { code } = await launched.exited;
  expect(launched.hostPids()).toEqual([]);
  expect(launched.log('host died')).toEqual([]);
  const lines = launched.output.split('\n').filter((line) => line.startsWith('plenum: '));
  expect(lines.length, launched.output).toBe(1);
  return { code, line: lines[0] };
}

it('a port that another process has', async () => {
  const other = createServer();
  onTestFinished(() => new Promise<void>((resolve) => other.close(() => resolve())));
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const address = other.address();
  const port = typeof address === 'object' ? String(address?.port) : '';
  const { code, line } = await refusal(['sim:', '--port', port]);
  expect(line).toMatch(new RegExp(`127\\.0\\.0\\.1:${port}.*\\(port_in_use\\)$`));
  expect(code).toBe(1);
});

it('a file that is not there', async () => {
  const { code, line } = await refusal(['./absent.gguf']);
  expect(line).toMatch(/absent\.gguf.*\(file_not_found\)$/);
  expect(code).toBe(1);
});

it('a file that is cut off', async () => {
  await writeFile(join(folder, 'cut.gguf'), model.subarray(0, Math.floor(model.length * 0.6)));
  const { code, line } = await refusal(['./cut.gguf']);
  expect(line).toMatch(/\(file_truncated\)$/);
  expect(code).toBe(1);
});

it('a file that is cut off within its header', async () => {
  await writeFile(join(folder, 'stub.gguf'), model.subarray(0, 100));
  const { line } = await refusal(['./stub.gguf']);
  expect(line).toMatch(/\((file_truncated|file_corrupt)\)$/);
});

it('a file whose header contradicts itself', async () => {
  const path = join(folder, 'corrupt.gguf');
  await writeFile(path, model);
  const file = await open(path, 'r+');
  // The count of key-value pairs lies at byte 16 (GGUF: magic, version, tensor count, pair count).
  await file.write(Buffer.alloc(7, 0xff), 0, 7, 16);
  await file.close();
  const { line } = await refusal(['./corrupt.gguf']);
  expect(line).toMatch(/\(file_corrupt\)$/);
});

it('a file that is something else', async () => {
  await writeFile(join(folder, 'foreign.gguf'), 'PK\u0003\u0004 and so on'.repeat(100));
  const { line } = await refusal(['./foreign.gguf']);
  expect(line).toMatch(/\(file_foreign\)$/);
});

it('an address beyond this machine without a key', async () => {
  const { code, line } = await refusal(['sim:', '--host', '0.0.0.0', '--port', '0']);
  expect(line).toMatch(/0\.0\.0\.0.*\(bind_refused\)$/);
  expect(code).toBe(2);
});

it('a setting that is misspelt in the environment', async () => {
  const { code, line } = await refusal(['sim:'], { env: { PLENUM_PARALEL: '2' } });
  expect(line).toMatch(/PLENUM_PARALEL.*PLENUM_PARALLEL/);
  expect(code).toBe(2);
});

it('more context than the model was trained for', async () => {
  const { code, line } = await refusal(['synthetic:tiny', '--context', '9000']);
  expect(line).toMatch(/9000.*8192.*\(config_invalid\)$/);
  expect(code).toBe(2);
});
