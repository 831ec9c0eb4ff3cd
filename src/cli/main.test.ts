/** The command line as a real process: help, errors, exit codes, pipes, the launcher. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { answer, delta, type FakeServer, fakeServer, reply, startStream } from './fixture.ts';

const MAIN = join(import.meta.dirname, 'main.ts');
const LAUNCHER = join(import.meta.dirname, '../../bin/plenum.js');

let cwd = '';
let server: FakeServer | undefined;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'plenum-cli-'));
});
afterEach(async () => {
  await server?.close();
  server = undefined;
  rmSync(cwd, { recursive: true });
});

/** The environment without what would change the tests' configuration. */
function cleanEnv(): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(PLENUM_|NODE_OPTIONS|FORCE_COLOR|VITEST)/.test(name),
  );
  return Object.fromEntries(inherited);
}

interface Run {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

interface Surroundings {
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: string;
  readonly script?: string;
}

function plenum(argv: readonly string[], options: Surroundings = {}): Promise<Run> {
  const child = spawn(process.execPath, [options.script ?? MAIN, ...argv], {
    cwd,
    env: { ...cleanEnv(), ...options.env },
  });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString('utf8');
  });
  child.stderr.on('data', (chunk: Buffer) => {
    err += chunk.toString('utf8');
  });
  child.stdin.end(options.input ?? '');
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, out, err }));
  });
}

describe('help', () => {
  it('lists the commands, with examples and exit codes', async () => {
    const { code, out, err } = await plenum(['--help']);
    expect(code).toBe(0);
    expect(err).toBe('');
    for (const text of ['serve', 'chat', 'doctor', 'config', 'Examples:', 'Exit codes:']) {
      expect(out).toContain(text);
    }
  });

  it('is there for each command', async () => {
    const { code, out } = await plenum(['help', 'config']);
    expect(code).toBe(0);
    expect(out).toContain('Usage: plenum config');
  });

  it('is shown when nothing is said, as an error', async () => {
    const { code, out, err } = await plenum([]);
    expect(code).toBe(2);
    expect(out).toBe('');
    expect(err).toContain('Usage: plenum');
  });

  it('comes with a version', async () => {
    const { code, out } = await plenum(['--version']);
    expect(code).toBe(0);
    expect(out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe('an error is one line without a stack trace', () => {
  it.each([
    [['confg'], 2, /^plenum: unknown command 'confg' \(Did you mean config\?\).* \(usage\)\n$/],
    [['config', '--prt'], 2, /^plenum: unknown option '--prt' \(Did you mean --port\?\).*\n$/],
    [['config', '--port'], 2, /^plenum: option '--port <port>' argument missing.* \(usage\)\n$/],
    [
      ['config', '--port', 'x'],
      2,
      /^plenum: --port: is "x"; expected a whole.*\(config_invalid\)\n/,
    ],
    [
      ['config', '-c', 'no.yaml'],
      1,
      /^plenum: --config: no\.yaml: no such .*\(file_not_found\)\n$/,
    ],
    [['chat', '--url', 'x'], 2, /^plenum: "x" is not the URL of a server.*\(usage\)\n$/],
    [
      ['chat', '--seed', 'x', '-m', 'a'],
      2,
      /^plenum: --seed is "x"; expected a number \(usage\)\n$/,
    ],
    [['chat'], 2, /^plenum: the question is empty \(usage\)\n$/],
    [['chat', '--api-key-env', 'NONE', '-m', 'a'], 2, /variable NONE is not set \(usage\)\n$/],
  ])('%j', async (argv, code, line) => {
    const run = await plenum(argv);
    expect(run.out).toBe('');
    expect(run.err).toMatch(line);
    expect(run.err.trimEnd().split('\n')).toHaveLength(1);
    expect(run.code).toBe(code);
  });

  it('but for several errors of a configuration, which follow it', async () => {
    writeFileSync(join(cwd, 'plenum.yaml'), 'wibble: 1\nserver: {port: x}\n');
    const { code, err } = await plenum(['config']);
    expect(code).toBe(2);
    expect(err).toBe(
      'plenum: the configuration has 2 errors (config_invalid)\n' +
        '  plenum.yaml:1:1: wibble: unknown key; known keys: ' +
        'server, models, defaults, pool, home, drain_ms\n' +
        '  plenum.yaml:2:16: server.port is "x"; expected a whole number from 0 to 65535\n',
    );
  });

  it('unless PLENUM_DEBUG asks for one', async () => {
    const { code, err } = await plenum(['config', '--port', 'x'], { env: { PLENUM_DEBUG: '1' } });
    expect(code).toBe(2);
    expect(err).toMatch(/\n {4}at .*load\.ts/);
  });
});

describe('plenum config', () => {
  it('prints values and where they came from', async () => {
    writeFileSync(join(cwd, 'plenum.yaml'), 'server:\n  port: 9000\n');
    const { code, out } = await plenum(['config', 'starter', '--threads', '2'], {
      env: { PLENUM_HOST: '127.0.0.2', PLENUM_API_KEY: 'do-not-print-me' },
    });
    expect(code).toBe(0);
    expect(out).toMatch(/^server\.host +127\.0\.0\.2 +PLENUM_HOST$/m);
    expect(out).toMatch(/^server\.port +9000 +plenum\.yaml:2:9$/m);
    expect(out).toMatch(/^models\[0\]\.model +starter +command line$/m);
    expect(out).toMatch(/^models\[0\]\.engine\.threads +2 +--threads$/m);
    expect(out).toMatch(/^server\.log\.level +info +default$/m);
    expect(out).toContain('server.api_keys[0].sha256');
    expect(out).not.toContain('do-not-print-me');
  });

  it('prints JSON for a script', async () => {
    const { out } = await plenum(['config', '--json', '--port', '1']);
    expect(JSON.parse(out)).toMatchObject({
      file: null,
      values: expect.arrayContaining([
        { path: 'server.port', value: 1, origin: { kind: 'flag', name: '--port' } },
      ]),
    });
  });

  it('prints the schema and the variables', async () => {
    const [schema, variables] = await Promise.all([
      plenum(['config', '--schema']),
      plenum(['config', '--env']),
    ]);
    expect(JSON.parse(schema.out)).toMatchObject({ title: 'plenum.yaml' });
    expect(variables.out).toMatch(/^PLENUM_PORT +port to listen on \(server\.port\)$/m);
  });

  // `true` is gone before anything is written; `head` goes after its first line.
  it.each([
    ['true', '0\n'],
    ['head -n 1', '{\n0\n'],
  ])('ends quietly when its reader, %s, goes away', (reader, printed) => {
    const command = `"$NODE" "$MAIN" config --schema | ${reader}; echo "\${PIPESTATUS[0]}"`;
    const run = spawnSync('bash', ['-c', command], {
      cwd,
      env: { ...cleanEnv(), NODE: process.execPath, MAIN },
      encoding: 'utf8',
    });
    expect(run.stderr).toBe('');
    expect(run.stdout).toBe(printed);
  });
});

describe('plenum chat without a terminal', () => {
  it('writes the answer and nothing else', async () => {
    server = await fakeServer((response) => answer(response, 'Because.\u001b[1m'));
    const env = { PLENUM_URL: server.url, PLENUM_API_KEY: 'secret-key' };
    const { code, out, err } = await plenum(['chat', '-s', 'Be brief.'], { env, input: 'Why?' });
    expect({ code, out, err }).toEqual({ code: 0, out: 'Because.\u001b[1m\n', err: '' });
    expect(server.seen).toMatchObject([
      { path: '/v1/models', authorization: 'Bearer secret-key' },
      {
        authorization: 'Bearer secret-key',
        body: {
          model: 'm',
          messages: [
            { role: 'system', content: 'Be brief.' },
            { role: 'user', content: 'Why?' },
          ],
        },
      },
    ]);
  });

  it('takes the question, the model and the parameters as flags, and prints JSON', async () => {
    server = await fakeServer((response) => answer(response, 'ok'));
    const flags = ['--temperature', '0', '--top-p', '0.5', '--max-tokens', '9', '--seed', '7'];
    const argv = ['chat', '-u', server.url, '--model', 'x', '-m', 'Hi', '--json', ...flags];
    const { code, out } = await plenum(argv);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      model: 'x',
      answer: 'ok',
      finish_reason: 'stop',
      prompt_tokens: 12,
      cached_tokens: 8,
      completion_tokens: 3,
    });
    expect(server.seen).toMatchObject([
      { body: { model: 'x', temperature: 0, top_p: 0.5, max_tokens: 9, seed: 7 } },
    ]);
  });

  it('says in one line what the server refuses', async () => {
    server = await fakeServer((response) =>
      reply(response, 401, { error: { message: 'No key.', code: 'invalid_api_key' } }),
    );
    const { code, out, err } = await plenum(['chat', '-u', server.url, '-m', 'Hi']);
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toMatch(/^plenum: http:\S+: No key\. \(invalid_api_key\)\n$/);
  });

  it('says so when the connection breaks in the middle of an answer', async () => {
    server = await fakeServer((response) => {
      startStream(response);
      response.write(delta('half'), () => response.destroy());
    });
    const { code, out, err } = await plenum(['chat', '-u', server.url, '-m', 'Hi']);
    expect({ code, out }).toEqual({ code: 1, out: 'half' });
    expect(err).toMatch(/\(server_unreachable\)\n$/);
  });

  it.each(['SIGINT', 'SIGTERM'] as const)('ends with 130 at %s', async (signal) => {
    expect(await interrupted(LAUNCHER, signal)).toEqual({
      code: 130,
      err: 'plenum: interrupted\n',
    });
  });
});

/** Runs a chat, sends the signal when the answer has begun. */
async function interrupted(script: string, signal: NodeJS.Signals) {
  const slow = await fakeServer((response) => {
    startStream(response);
    response.write(delta('half'));
  });
  const child = spawn(process.execPath, [script, 'chat', '-u', slow.url, '-m', 'Hi'], {
    cwd,
    env: cleanEnv(),
  });
  child.stdout.once('data', () => child.kill(signal));
  let err = '';
  child.stderr.on('data', (chunk: Buffer) => {
    err += chunk.toString('utf8');
  });
  const code = await new Promise((resolve) => child.on('close', resolve));
  await slow.close();
  return { code, err };
}

describe('the launcher', () => {
  it('runs the program', async () => {
    const { code, out } = await plenum(['--version'], { script: LAUNCHER });
    expect(code).toBe(0);
    expect(out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it('runs it on the package’s own Node when it is started by an older one', async () => {
    // The version is what the launcher looks at; the real one is new enough.
    const older = join(cwd, 'older.mjs');
    const disguise = "Object.defineProperty(process.versions, 'node', { value: '20.1.0' });";
    writeFileSync(older, `${disguise}\nawait import(${JSON.stringify(LAUNCHER)});\n`);
    const good = await plenum(['config', '--port', '7'], { script: older });
    expect(good.code).toBe(0);
    expect(good.out).toMatch(/^server\.port +7 /m);
    const wrong = await plenum(['confg'], { script: older });
    expect(wrong.code).toBe(2);
    expect(await interrupted(older, 'SIGTERM')).toMatchObject({ code: 130 });
    expect(await interrupted(older, 'SIGINT')).toMatchObject({ code: 130 });
  });
});
