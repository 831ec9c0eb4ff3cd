/** `plenum plan`: its flags. The work is in ../planning/plan.ts, loaded when it runs. */
import { type Command, Option } from 'commander';
import type { CliContext } from '../context.ts';
import type { PlanOptions } from '../planning/plan.ts';

const NOTES = `
The first model named is the one whose speed and cost are told; the others stay resident beside it.
A model is one of plenum catalog, with its quantisation after an @, a file, a stored or synthetic
one, or one of the hub, of which only the header is read. A machine is one of plenum machines, with
its memory in GiB where it comes in several sizes (m4-max-40c:64; the largest otherwise), or a
number of cards (2xrtx-3090).

--json prints an array with an object for each machine: machine, memoryGib, devices, fits, verdict,
memory {availableBytes, neededBytes, shortBytes, items}, speed {decodeTps, perUserTps, prefillTps,
ttftMs, interTokenMs, binding, prefillBinding, limitTps, ofLimit, errorPct}, cost {usdPerMtokOut,
usdPerMtokIn, usdPerBusyHour, joulesPerTokenOut, parts, unknown}, models, instead. What is not known
is null. Where models do not fit, speed and cost are what they would be if they did.

Examples:
  plenum plan llama-3.3-70b@q4_k_m --machine m4-max-40c:64
  plenum plan llama-3.1-8b --compare m4-pro-20c,rtx-4090 --users 8 --prompt-tokens 2000
  plenum plan llama-3.3-70b ./embedder.gguf --machine m3-ultra-80c --target-tps 20
`;

export function registerPlan(program: Command, context: CliContext): void {
  program
    .command('plan')
    .summary('say what fits, how fast, and at what cost')
    .description('Says whether models fit machines, how fast they are there, and what tokens cost.')
    .argument('<references...>', 'models; the first is the one whose speed is told')
    .addOption(new Option('--machine <id>', 'a machine of the catalogue (default: this one)'))
    .addOption(new Option('--compare <ids>', 'several, with commas between').conflicts('machine'))
    .option('--users <count>', 'streams at the same time (default: 1)')
    .option('--prompt-tokens <count>', 'tokens in (default: 512)')
    .option('--output-tokens <count>', 'tokens out (default: 128)')
    .option('--utilization <share>', 'of the time in which it works (default: 0.3)')
    .option('--quant <name>', 'of catalogued models named without one (default: Q4_K_M)')
    .option('--context <tokens>', 'longest sequence (default: tokens in and out)')
    .option('--target-tps <rate>', 'tokens per second that each user should get')
    .option('--json', 'print it as JSON')
    .addHelpText('after', NOTES)
    .action(async (references: string[], options: PlanOptions) => {
      const { planFor } = await import('../planning/plan.ts');
      await planFor(references, options, context);
    });
}
