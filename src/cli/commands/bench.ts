/** `plenum bench`: its flags are in ../bench/flags.ts, the work in ../bench/run.ts. */
import type { Command } from 'commander';
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
    --spawn peer='llama-server -m model.gguf --port {port}' --scenario rag --json report.json
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
}
