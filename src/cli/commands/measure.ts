/** `plenum measure`: its flags. The work is in ../measure/, loaded when it runs. */
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import type { MeasureOptions } from '../measure/run.ts';

const NOTES = `
Reads memory in a stream, then times decode and prefill of small synthetic models at several batches
and contexts, each in a process of its own, in turns. Fits the planner's model of speed to the
medians and stores the profile in PLENUM_HOME/profiles, one for each number of threads. plenum plan
works from it for this machine, and plenum serve starts from the one of as many threads as it uses.

With models named, those are measured instead; they should hold every kind of weights that matters.
Close other programs: SPREAD says how much the repetitions differed. The mix takes about 1.5 GB of
disk, 2.5 GB of memory and two minutes on one thread; --quick about half a minute.

--json prints {path, profile}; profile.steps has measuredMs, spreadPct and predictedMs of each step.

Examples:
  plenum measure
  plenum measure --threads 1 --quick
  plenum measure ./model.gguf synthetic:probe-moe@q8_0 --no-save
`;

export function registerMeasure(program: Command, context: CliContext): void {
  program
    .command('measure')
    .summary('measure how fast this machine is, for plan and serve')
    .description('Measures this machine and stores what the planner needs to predict its speed.')
    .argument('[references...]', 'models to measure with (default: a mix of synthetic ones)')
    .option('-t, --threads <count>', 'engine threads (default: as serve chooses)')
    .option('--quick', 'fewer models, steps and repetitions; less sure')
    .option('--no-save', 'do not store the profile')
    .option('--json', 'print the profile as JSON')
    .addHelpText('after', NOTES)
    .action(async (references: string[], options: MeasureOptions) => {
      const { measure } = await import('../measure/run.ts');
      await measure(references, options, context);
    });
}
