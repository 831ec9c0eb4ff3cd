/** What the doctor says of good and bad machines, engines, folders, ports and configurations. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { NO_FLAGS } from '../../config/layers.ts';
import { fakeContext } from '../fixture.ts';
import { engineCheck, probeEngine } from './engine-probe.ts';
import { appleCheck, graphicsCheck } from './graphics.ts';
import { checkNode, memoryCheck } from './machine.ts';
import { doctor } from './run.ts';
import { checkConfig, checkPort, checkStorage } from './service.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'plenum-doctor-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('the machine', () => {
  it('fails with an old Node', () => {
    expect(checkNode('20.1.0')).toMatchObject({ status: 'fail', found: '20.1.0' });
    expect(checkNode('24.0.0').status).toBe('ok');
  });

  it('is warned of short memory, and told of a container’s limit', () => {
    const memory = { totalBytes: 32e9, availableBytes: 20e9, limitBytes: null, swapBytes: 0 };
    expect(memoryCheck(memory)).toMatchObject({
      status: 'ok',
      found: '32.0 GB in all, 20.0 GB available',
      advice: [],
    });
    const limited = memoryCheck({ ...memory, limitBytes: 2e9, availableBytes: 5e8 });
    expect(limited.status).toBe('warn');
    expect(limited.found).toContain('limited to 2.00 GB by the control group');
    expect(limited.advice).toHaveLength(2);
  });

  it('is told of graphics that the engine does not use', () => {
    expect(graphicsCheck([]).status).toBe('ok');
    expect(graphicsCheck(['NVIDIA GeForce RTX 4090']).status).toBe('warn');
  });

  it('of Apple is read from sysctl, and said to be unproven', () => {
    const values = new Map([
      ['hw.memsize', String(64 * 2 ** 30)],
      ['machdep.cpu.brand_string', 'Apple M4 Max'],
      ['iogpu.wired_limit_mb', '0'],
    ]);
    const usual = appleCheck(values);
    expect(usual.status).toBe('ok');
    expect(usual.found).toMatch(/^Apple M4 Max, 68\.7 GB of unified memory; .*default of macOS/);
    expect(usual.advice[0]).toContain('not been run on a Mac');
    const raised = appleCheck(new Map([...values, ['iogpu.wired_limit_mb', '63000']]));
    expect(raised.status).toBe('warn');
    expect(raised.advice.join(' ')).toContain('lower it');
  });
});

describe('the engine', () => {
  const script = (text: string): string => {
    const path = join(folder, 'child.mjs');
    writeFileSync(path, text);
    return path;
  };

  it('is opened in a child process and described', async () => {
    const check = engineCheck(await probeEngine());
    expect(check.status).toBe('ok');
    expect(check.found).toMatch(/^llama \S+ of @node-llama-cpp\//);
  });

  it('that crashes fails the check, not the doctor', async () => {
    const crash = "console.error('illegal\\nlast line'); process.kill(process.pid, 'SIGILL');";
    const check = engineCheck(await probeEngine(script(crash)));
    expect(check.status).toBe('fail');
    expect(check.found).toContain('crashed while it was opened (SIGILL)');
    expect(check.advice[0]).toBe('its last words: last line');
  });

  it('that hangs is given up', async () => {
    const check = engineCheck(await probeEngine(script('setInterval(() => {}, 1000);'), 300));
    expect(check.found).toContain('did not open within 300 ms');
  });

  it('that is not installed is a failure with its reason', () => {
    const error = { code: 'library_missing', message: 'no package' } as const;
    const check = engineCheck({ kind: 'refused', error });
    expect(check).toMatchObject({ status: 'fail', found: 'no package' });
  });
});

describe('the port', () => {
  const servers: Server[] = [];
  afterEach(() => {
    for (const server of servers.splice(0)) server.close();
  });

  async function taken(status: number): Promise<number> {
    const server = createServer((_, response) => response.writeHead(status).end());
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return (server.address() as AddressInfo).port;
  }

  it('is free, taken by a healthy server, or taken by something else', async () => {
    expect((await checkPort('127.0.0.1', 0)).status).toBe('ok');
    const healthy = await checkPort('127.0.0.1', await taken(200));
    expect(healthy).toMatchObject({ status: 'ok', facts: { free: false, healthy: true } });
    const foreign = await checkPort('127.0.0.1', await taken(404));
    expect(foreign).toMatchObject({ status: 'warn', facts: { free: false, healthy: false } });
  });

  it('of an address that this machine does not have is a failure', async () => {
    const check = await checkPort('192.0.2.1', 0);
    expect(check.status).toBe('fail');
    expect(check.found).toContain('EADDRNOTAVAIL');
  });
});

describe('the service', () => {
  it('has a configuration, or is told what is wrong with it', () => {
    const input = { flags: NO_FLAGS, env: {}, cwd: folder };
    expect(checkConfig(input)).toMatchObject({
      check: { status: 'ok', found: 'no file, the defaults; serves starter' },
    });
    writeFileSync(join(folder, 'plenum.yaml'), 'prot: 1\ndrain: 2\n');
    const { check, config } = checkConfig(input);
    expect(config).toBeNull();
    expect(check.status).toBe('fail');
    expect(check.advice).toHaveLength(2);
  });

  it('has a folder for models, which may not exist yet', async () => {
    const home = join(folder, 'not/yet');
    const check = await checkStorage(null, { PLENUM_HOME: home });
    expect(check.facts).toMatchObject({ home, writable: true, models: [] });
    expect(check.found).toContain(`${home}: 0 models`);
  });

  it('is warned of a record that cannot be read', async () => {
    mkdirSync(join(folder, 'refs'));
    writeFileSync(join(folder, 'refs/x.json'), '{');
    const check = await checkStorage(null, { PLENUM_HOME: folder });
    expect(check.status).toBe('warn');
    expect(check.advice.join(' ')).toContain('x.json cannot be read');
  });
});

describe('plenum doctor', () => {
  it('prints every check, and ends with 1 when one fails', async () => {
    writeFileSync(join(folder, 'bad.yaml'), 'prot: 1');
    const context = fakeContext({ env: { PLENUM_HOME: folder }, cwd: folder });
    await doctor({ config: 'bad.yaml' }, context);
    expect(context.out).toContain('FAIL  Configuration  bad.yaml:1:1: prot: unknown key');
    expect(context.out).toMatch(/1 failure, \d warnings?\.\n$/);
    expect(context.exitCode).toBe(1);
  });

  it('prints JSON for a script', async () => {
    const context = fakeContext({ env: { PLENUM_HOME: folder }, cwd: folder });
    await doctor({ json: true }, context);
    const schema = z.object({
      ok: z.boolean(),
      checks: z.array(z.object({ name: z.string(), status: z.enum(['ok', 'warn', 'fail']) })),
    });
    const { ok, checks } = schema.parse(JSON.parse(context.out));
    expect(ok).toBe(checks.every(({ status }) => status !== 'fail'));
    expect(checks.map(({ name }) => name)).toEqual([
      'Node',
      'System',
      'Processor',
      'Memory',
      'Graphics',
      'Engine',
      'Speed',
      'Models',
      'Port',
      'Configuration',
    ]);
  });
});
