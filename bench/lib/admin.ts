/** A server of several models from a configuration, and its operator's view, for benchmarks. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type PoolModelBody, poolModelSchema, poolSchema } from '../../src/wire/admin.ts';
import { freePort, launch, plenumEnvironment, type RunningServer } from './servers.ts';

const MAIN = join(import.meta.dirname, '../../src/cli/main.ts');

export type Served = Omit<RunningServer, 'kernels'>;

/** `home` keeps synthetic files from one server to the next; `node` runs server and hosts. */
export async function serveYaml(
  yaml: string,
  home: string,
  node = process.execPath,
): Promise<Served> {
  const port = await freePort();
  const { cwd, env } = plenumEnvironment();
  mkdirSync(home, { recursive: true });
  const file = join(cwd, 'plenum.yaml');
  writeFileSync(file, yaml);
  const args = [MAIN, 'serve', '--config', file, '--port', String(port)];
  const command = { file: node, args, cwd, env: { ...env, PLENUM_HOME: home } };
  return launch(command, `http://127.0.0.1:${port}`, 'plenum');
}

export async function poolModel(url: string, id: string): Promise<PoolModelBody> {
  const reply = await fetch(`${url}/admin/pool`);
  const found = poolSchema.parse(await reply.json()).models.find((model) => model.id === id);
  if (found === undefined) throw new Error(`no model ${id} in the pool`);
  return found;
}

export async function manage(
  url: string,
  id: string,
  deed: 'load' | 'unload',
): Promise<PoolModelBody> {
  const reply = await postJson(`${url}/admin/models/${encodeURIComponent(id)}/${deed}`, {});
  return poolModelSchema.parse(await reply.json());
}

/** Rejects with the server's own words when it does not answer with 200. */
export async function postJson(url: string, body: unknown): Promise<Response> {
  const reply = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!reply.ok) throw new Error(`${url}: ${reply.status} ${await reply.text()}`);
  return reply;
}

export async function until<T>(ask: () => Promise<T | null>, limitMs: number): Promise<T> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const answer = await ask();
    if (answer !== null) return answer;
    if (performance.now() > deadline) throw new Error(`not within ${limitMs} ms`);
    await delay(2);
  }
}
