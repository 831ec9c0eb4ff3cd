/** `plenum bench`: its flags are in ../bench/flags.ts, the work in ../bench/run.ts. */
import type { Command } from 'commander';
import type { CompareFlags } from '../bench/compare.ts';
import { type BenchFlags, benchFlags } from '../bench/flags.ts';
import type { CliContext } from '../context.ts';

const NOTES = `
Any server with OpenAI's API can be measured. Several are measured in turn and compared with the
first. Latency of an open loop (--rate) counts from the moment at which a request was meant to be
sent, so that a server that stalls cannot hide it.

Examples:
  plenum bench --target here=http://127.0.0.1:8686 --clients 8 --duration 30s
  plenum bench --target a=http://127.0.0.1:8686 --target b=http://127.0.0.1:8080 --rate 4
  plenum bench --spawn own='plenum serve model.gguf --port {port}' \\
    --spawn peer='llama-server -m model.gguf --port {port}' --scenario rag --html report.html
  plenum bench --target here=http://127.0.0.1:8686 --sweep clients=1..64 --slo ttft=500ms,itl=60ms
`;

export function registerBench(program: Command, context: CliContext): void {
  const command = program
    .command('bench')
    .summary('measure servers and compare them')
    .description('Measures servers with the OpenAI API under load, and compares them.')
    .addHelpText('after', NOTES);
  benchFlags(command).action(async (flags: BenchFlags) => {
    const { bench } = await import('../bench/run.ts');
    const at = process.argv.indexOf('bench');
    await bench(flags, at === -1 ? [] : process.argv.slice(at + 1), context);
  });
  // Options behind `compare` are its own, also where bench has one of the same name.
  program.enablePositionalOptions();
  registerCompare(command.enablePositionalOptions(), context);
}

function registerCompare(bench: Command, context: CliContext): void {
  const several = (text: string, before: readonly string[] = []): string[] => [...before, text];
  bench
    .command('compare <a> <b>')
    .summary('compare two reports')
    .description('Compares report B with report A: what differs, and whether it can be told apart.')
    .option('--threshold <condition>', "exit code 1 unless B holds it, as 'ttft.p95<1.1'", several)
    .option('--allowance <percent>', 'what the machine may have changed in between (default: 5)')
    .option('--json', 'print the comparison as JSON')
    .action(async (a: string, b: string, flags: CompareFlags) => {
      const { compareReports } = await import('../bench/compare.ts');
      await compareReports([a, b], flags, context);
    });
}
