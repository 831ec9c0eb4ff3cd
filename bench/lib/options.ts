/** The flags that every benchmark has, and the way it prints its result. */
import { existsSync } from 'node:fs';
import { cpus } from 'node:os';
import { resolve } from 'node:path';
import { type ParseArgsOptionsConfig, parseArgs } from 'node:util';

export interface BenchOptions {
  /** GGUF file that both servers serve; '' for a benchmark that needs none. */
  readonly model: string;
  /** llama.cpp's server; null = measure this server alone. */
  readonly llamaServer: string | null;
  /** `same`: the peer on this project's engine libraries; `own`: on those it was built with. */
  readonly peerKernels: 'same' | 'own';
  /** One server alone, to try things out; null = both, where there is a peer. */
  readonly only: 'plenum' | 'llama-server' | null;
  readonly threads: number;
  readonly repetitions: number;
  readonly json: boolean;
  /** Flags of one benchmark alone. */
  readonly more: Readonly<Record<string, string | undefined>>;
}

const COMMON = {
  model: { type: 'string' },
  'llama-server': { type: 'string' },
  'peer-kernels': { type: 'string', default: 'same' },
  only: { type: 'string' },
  threads: { type: 'string', default: '1' },
  repetitions: { type: 'string', default: '5' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const satisfies ParseArgsOptionsConfig;

const COMMON_HELP = `
  --model FILE          GGUF file to serve (or env MODEL)
  --llama-server PATH   peer to compare with (or env LLAMA_SERVER); left out: this server alone
  --peer-kernels WHICH  same: the peer on this project's engine libraries (default; Linux);
                        own: on the libraries that it was built with
  --only SERVER         plenum or llama-server alone
  --threads N           engine threads of both (default 1)
  --repetitions N       interleaved runs of each (default 5)
  --json                the result as JSON instead of a table`;

export interface BenchHelp {
  readonly name: string;
  readonly what: string;
  /** Serves no model file. */
  readonly modelless?: boolean;
  /** Flag without dashes → [default, help]. */
  readonly more: Readonly<Record<string, readonly [value: string, help: string]>>;
}

/** Reads the command line; prints help or what is wrong with it and ends the process. */
export function benchOptions({ name, what, modelless, more }: BenchHelp): BenchOptions {
  const own = Object.fromEntries(
    Object.entries(more).map(([flag, [value]]) => [
      flag,
      { type: 'string' as const, default: value },
    ]),
  );
  try {
    const { values } = parseArgs({ options: { ...own, ...COMMON } });
    if (values.help) {
      process.stdout.write(`node bench/${name}.ts: ${what}\n${COMMON_HELP}\n${moreHelp(more)}`);
      process.exit(0);
    }
    return {
      model: modelless === true ? '' : existing(values.model ?? process.env.MODEL, '--model'),
      llamaServer: optionalPath(values['llama-server'] ?? process.env.LLAMA_SERVER),
      peerKernels: oneOf(values['peer-kernels'], ['same', 'own'], '--peer-kernels'),
      only:
        values.only === undefined ? null : oneOf(values.only, ['plenum', 'llama-server'], '--only'),
      threads: wholeNumber(values.threads, '--threads'),
      repetitions: wholeNumber(values.repetitions, '--repetitions'),
      json: values.json,
      more: Object.fromEntries(
        Object.keys(more).map((flag) => [flag, String(Reflect.get(values, flag))]),
      ),
    };
  } catch (thrown) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    process.stderr.write(`bench/${name}.ts: ${message} (--help lists the flags)\n`);
    process.exit(2);
  }
}

function moreHelp(more: BenchHelp['more']): string {
  return Object.entries(more)
    .map(([flag, [value, help]]) => `${`  --${flag} …`.padEnd(24)}${help} (default ${value})\n`)
    .join('');
}

function existing(path: string | undefined, flag: string): string {
  if (path === undefined) throw new Error(`${flag} is missing`);
  const full = resolve(path);
  if (!existsSync(full)) throw new Error(`${flag}: there is no file ${full}`);
  return full;
}

function optionalPath(path: string | undefined): string | null {
  return path === undefined || path === '' ? null : existing(path, '--llama-server');
}

export function wholeNumber(text: string | undefined, flag: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) {
    throw new Error(`${flag} ${text}: a whole number from 1 on is needed`);
  }
  return value;
}

function oneOf<const T extends string>(text: string, allowed: readonly T[], flag: string): T {
  const found = allowed.find((value) => value === text);
  if (found === undefined) throw new Error(`${flag} ${text}: one of ${allowed.join(', ')}`);
  return found;
}

/** The machine in a few words, for the head of a result. */
export function machine(): string {
  const list = cpus();
  return `${list[0]?.model ?? process.arch}, ${list.length} logical CPUs, ${process.platform}`;
}

/** A markdown table whose columns line up. */
export function markdownTable(header: readonly string[], rows: readonly string[][]): string {
  const widths = header.map((cell, i) =>
    Math.max(cell.length, ...rows.map((row) => row[i]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`;
  return [line(header), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join(
    '\n',
  );
}

/** Progress for a person, on stderr, so that stdout is the result alone. */
export function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Prints the result: JSON, or a heading, the facts and the table. */
export function printResult(
  options: BenchOptions,
  result: { readonly title: string; readonly facts: readonly string[]; readonly table: string },
  data: unknown,
): void {
  if (options.json) {
    process.stdout.write(`${JSON.stringify({ title: result.title, facts: result.facts, data })}\n`);
    return;
  }
  const facts = result.facts.map((fact) => `- ${fact}`).join('\n');
  process.stdout.write(`\n## ${result.title}\n\n${facts}\n\n${result.table}\n`);
}
