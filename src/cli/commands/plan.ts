/** `plenum plan`: its flags. The work is in ../planning/plan.ts, loaded when it runs. */
import { type Command, Option } from 'commander';
import type { CliContext } from '../context.ts';
import type { PlanOptions } from '../planning/plan-options.ts';

const NOTES = `
The first model named is the one whose speed and cost are told; the others stay resident beside it.
A model is one of plenum catalog, with its quantisation after an @, a file, a stored or synthetic
one, or one of the hub, of which only the header is read. A machine is one of plenum machines, with
its memory in GiB where it comes in several sizes (m4-max-40c:64; the largest otherwise), or a
number of cards (2xrtx-3090).

With --rate, --trace or --slo, and for one machine with several --users, the scheduler itself runs
in virtual time: percentiles, goodput, and the highest rate that meets the target. docs/planning.md
describes traces and what is predicted.

Prices and powers are the catalogue's, each with its source, unless a flag gives them. --json prints
an array with an object for each machine (docs/plan-json.md); what is not known is null.

Examples:
  plenum plan llama-3.3-70b@q4_k_m --machine m4-max-40c:64
  plenum plan llama-3.1-8b --compare m4-pro-20c,rtx-4090 --rate 2 --slo ttft=500ms,itl=60ms
  plenum plan qwen3-8b --machine rtx-4090 --trace day.jsonl --html plan.html
  plenum plan llama-3.3-70b --machine m3-ultra-80c --speculation 0.7 --target-tps 20
`;

export function registerPlan(program: Command, context: CliContext): void {
  const command = program
    .command('plan')
    .summary('say what fits, how fast, and at what cost')
    .description('Says whether models fit machines, how fast they are there, and what tokens cost.')
    .argument('<references...>', 'models; the first is the one whose speed is told')
    .addOption(new Option('--machine <id>', 'a machine of the catalogue (default: this one)'))
    .addOption(new Option('--compare <ids>', 'several, with commas between').conflicts('machine'))
    .addOption(
      new Option(
        '--threads <count>',
        'of the engine on this machine, as it was measured',
      ).conflicts(['machine', 'compare']),
    )
    .option('--system-memory <GiB>', 'beside cards, for layers that they do not hold (DDR5)')
    .option('--quant <name>', 'of catalogued models named without one (default: Q4_K_M)')
    .option('--context <tokens>', 'longest sequence (default: tokens in and out)');
  trafficOptions(command);
  moneyOptions(command);
  command
    .option('--html <file>', 'write a page with plots, everything inside it')
    .option('--json', 'print it as JSON')
    .addHelpText('after', NOTES)
    .action(async (references: string[], options: PlanOptions) => {
      const { planFor } = await import('../planning/plan.ts');
      await planFor(references, options, context);
    });
}

function trafficOptions(command: Command): void {
  command
    .option('--users <count>', 'streams at the same time (default: 1, under load 4)')
    .option('--prompt-tokens <count>', 'tokens in (default: 512)')
    .option('--output-tokens <count>', 'tokens out (default: 128)')
    .option('--cached-tokens <count>', 'of every prompt, that begin all of them')
    .option('--spread <sigma>', 'log-normal lengths around those (default: 0, fixed)')
    .option('--rate <rate>', 'requests per second, Poisson arrivals')
    .option('--trace <file>', 'lengths, and times of arrival, of recorded requests')
    .option('--slo <target>', 'such as ttft=500ms,itl=60ms[,share=0.9]')
    .option('--seed <number>', 'of the simulation (default: 1)')
    .option('--target-tps <rate>', 'tokens per second that each user should get')
    .option('--speculation <acceptance[,draft]>', 'a small model proposes 4 tokens at a time');
}

function moneyOptions(command: Command): void {
  command
    .option('--utilization <share>', 'of the time in which it works (default: 0.3)')
    .option('--price <usd>', 'of the machine')
    .option('--years <years>', 'for which it is used (default: 3)')
    .option('--residual <share>', 'of the price that is left then (default: 0.3)')
    .option('--power <watts>', 'of the whole machine under load')
    .option('--idle-power <watts>', 'when it waits')
    .option('--tariff <usd>', 'per kWh (default: 0.12)')
    .option('--pue <factor>', 'what the building takes per watt (default: 1)')
    .option('--operations <usd>', 'people, space, network, a month (default: 0)')
    .option('--rent <usd>', 'per hour, instead of the rents of the catalogue')
    .option('--rent-hours <hours>', 'at a time (default: the shortest lease, 24 for a Mac)')
    .option('--hosted <in,out>', 'dollars per million tokens of a hosted API');
}
