/** Runs the checks of `plenum doctor` side by side and prints them. */
import { NO_FLAGS } from '../../config/layers.ts';
import { plenumHome } from '../../model/store-home.ts';
import { type CliContext, type CliOutput, paint } from '../context.ts';
import { broken, type Check, type CheckStatus } from './check.ts';
import { engineCheck, probeEngine } from './engine-probe.ts';
import { checkGraphics } from './graphics.ts';
import { checkCpu, checkMemory, checkNode, checkPlatform } from './machine.ts';
import { checkConfig, checkPort, checkStorage } from './service.ts';
import { checkSpeed } from './speed.ts';

const COLORS = { ok: 'green', warn: 'yellow', fail: 'red' } as const;

export interface DoctorOptions {
  /** `--config` */
  readonly config?: string;
  readonly json?: true;
}

export async function doctor(options: DoctorOptions, context: CliContext): Promise<void> {
  const checks = await allChecks(options, context);
  const failed = checks.filter(({ status }) => status === 'fail').length;
  const warned = checks.filter(({ status }) => status === 'warn').length;
  if (options.json === true) {
    context.stdout.write(`${JSON.stringify({ ok: failed === 0, checks }, null, 2)}\n`);
  } else {
    for (const check of checks) print(context.stdout, check);
    const problems = [count(failed, 'failure'), count(warned, 'warning')].join(', ');
    context.stdout.write(failed + warned === 0 ? 'All is well.\n' : `${problems}.\n`);
  }
  if (failed > 0) context.setExitCode(1);
}

async function allChecks(options: DoctorOptions, context: CliContext): Promise<Check[]> {
  const { env, cwd } = context;
  const flags = { ...NO_FLAGS, file: options.config ?? null };
  const { check: configuration, config } = checkConfig({ flags, env, cwd });
  const { host, port } = config?.server ?? { host: '127.0.0.1', port: 8686 };
  const slow = [
    guarded('Processor', checkCpu),
    guarded('Memory', checkMemory),
    guarded('Graphics', checkGraphics),
    guarded('Engine', async () => engineCheck(await probeEngine())),
    guarded('Speed', () => checkSpeed(config?.home ?? plenumHome(env))),
    guarded('Models', () => checkStorage(config, env)),
    guarded('Port', () => checkPort(host, port)),
  ];
  return [checkNode(), checkPlatform(), ...(await Promise.all(slow)), configuration];
}

async function guarded(name: string, look: () => Promise<Check>): Promise<Check> {
  try {
    return await look();
  } catch (thrown) {
    return broken(name, thrown);
  }
}

const NAME_WIDTH = 14;
const STATUS_WORDS: Readonly<Record<CheckStatus, string>> = {
  ok: 'ok  ',
  warn: 'warn',
  fail: 'FAIL',
};

function print(output: CliOutput, { name, status, found, advice }: Check): void {
  const word = paint(output, COLORS[status], STATUS_WORDS[status]);
  output.write(`${word}  ${paint(output, 'bold', name.padEnd(NAME_WIDTH))} ${found}\n`);
  for (const line of advice) output.write(`${' '.repeat(NAME_WIDTH + 7)}${line}\n`);
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`;
}
