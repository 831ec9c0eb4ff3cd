/**
 * What a newcomer does is a test: the README's commands, in its order, on a clone of the latest
 * commit, in an environment that knows nothing of this one. Only the port differs (8686 may be
 * taken here) and the model, which is in the store already where this machine has fetched it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, expect, it } from 'vitest';
import { z } from 'zod';
import {
  cleanEnvironment,
  homeWithStarter,
  isAlive,
  Launched,
  listeningPort,
  stopAll,
} from './e2e/server.ts';

const ROOT = join(import.meta.dirname, '..');
/** An install from a cold cache on a busy machine with two cores takes about a minute. */
const COMMAND_MS_MAX = 300_000;

/** The commands of the README's fenced `sh` blocks, in order; a continued line is one command. */
function shellCommands(markdown: string): string[] {
  const blocks = [...markdown.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block = '']) => block);
  return blocks.flatMap((block) =>
    block
      .split(/(?<!\\)\n/)
      .map((line) => line.trim())
      .filter((line) => line !== '' && !line.startsWith('#')),
  );
}

const folder = await mkdtemp(join(tmpdir(), 'plenum-readme-'));
const clone = join(folder, 'plenum');
const home = await homeWithStarter();

/** A newcomer's shell: no Node of this tree in the PATH, nothing of the npm that runs the tests. */
function newcomer(): NodeJS.ProcessEnv {
  // Where packages come from is the machine's affair, and may be in a variable.
  const kept = /^npm_config_(registry|userconfig|globalconfig|cache|cafile|.*proxy|.*:.*)$/i;
  const entries = Object.entries(cleanEnvironment()).filter(
    ([name]) => !/^(npm_|INIT_CWD$|NODE$)/i.test(name) || kept.test(name),
  );
  const path = (process.env.PATH ?? '')
    .split(delimiter)
    .filter((part) => !/node_modules[\\/]\.bin|node-gyp-bin/.test(part));
  return {
    ...Object.fromEntries(entries),
    PATH: path.join(delimiter),
    PLENUM_PORT: '0',
    ...(home === null ? {} : { PLENUM_HOME: home }),
  };
}

let server: { group: ChildProcess; launched: Launched } | null = null;

process.once('exit', () => endGroup('SIGKILL'));
afterAll(async () => {
  endGroup('SIGKILL');
  await server?.launched.stop();
  await stopAll();
  await rm(folder, { recursive: true, force: true });
});

/** To npm, its shell and the server, as a terminal's Ctrl-C goes to all of them. */
function endGroup(signal: NodeJS.Signals): void {
  const { pid } = server?.group ?? {};
  if (pid === undefined || server?.launched.hasExited === true) return;
  process.kill(-pid, signal);
}

/** Its standard output; rejects with everything it said unless it ends with 0. */
async function run(command: string, cwd: string): Promise<string> {
  const child = spawn('sh', ['-c', command], {
    cwd,
    env: newcomer(),
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: COMMAND_MS_MAX,
  });
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ]);
  expect(code, `${command}\n${stdout}\n${stderr}`.slice(0, 4000)).toBe(0);
  return stdout;
}

/** Starts it in the background, waits until it listens, and returns its port. */
async function startInBackground(command: string): Promise<number> {
  const group = spawn('sh', ['-c', `exec ${command}`], {
    cwd: clone,
    env: newcomer(),
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  server = { group, launched: new Launched(group) };
  return listeningPort(server.launched);
}

const onPath = (tool: string): boolean =>
  (newcomer().PATH ?? '').split(delimiter).some((part) => existsSync(join(part, tool)));

const replySchema = z.object({
  choices: z.tuple([z.object({ message: z.object({ content: z.string() }) })]),
});

function expectRealWords(reply: string): void {
  const { content } = replySchema.parse(JSON.parse(reply)).choices[0].message;
  const words = content.toLowerCase().match(/[a-z]+/g) ?? [];
  expect(words.length, content).toBeGreaterThan(2);
  const common = words.filter((word) => /^(the|a|an|of|to|and|in|is|that|it|or|for)$/.test(word));
  expect(common.length, content).toBeGreaterThan(0);
}

it('the README’s commands do what it says, in its order', {
  timeout: 2 * COMMAND_MS_MAX,
}, async (context) => {
  await run(`git clone --quiet '${ROOT}' '${clone}'`, folder);
  expect(existsSync(join(clone, 'node_modules'))).toBe(false);
  const commands = shellCommands(readFileSync(join(clone, 'README.md'), 'utf8'));
  expect(commands.slice(0, 2)).toEqual(['npm ci', 'npm start']);
  expect(commands).toContain('npm cit');
  let port = Number.NaN;
  for (const command of commands) {
    if (command === 'npm start') {
      port = await startInBackground(command);
      if (home === null) context.skip('the starter model could not be had: its words are random');
    } else if (command === 'npm cit') {
      // npm's own "ci, then test"; to run it here would run this test again.
      const manifest: unknown = JSON.parse(readFileSync(join(clone, 'package.json'), 'utf8'));
      expect(manifest).toMatchObject({ scripts: { test: expect.stringMatching(/unit/) } });
    } else if (command.startsWith('curl ')) {
      expect(command).toContain('localhost:8686');
      if (!onPath('curl')) context.skip('this machine has no curl');
      const here = command.replaceAll('localhost:8686', `localhost:${port}`);
      expectRealWords(await run(`${here} -sS`, clone));
    } else {
      await run(command, clone);
    }
  }
  expect(server?.launched.hostPids().filter(isAlive).length).toBe(1);
  endGroup('SIGINT');
  await server?.launched.exited;
  await expect.poll(() => server?.launched.hostPids().filter(isAlive)).toEqual([]);
});
