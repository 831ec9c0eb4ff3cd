/** The flags of `plenum bench`: their texts, and their values as commander hands them over. */
import type { Command } from 'commander';

export interface BenchFlags {
  readonly target?: readonly string[];
  readonly spawn?: readonly string[];
  readonly model?: readonly string[];
  readonly apiKeyEnv?: readonly string[];
  readonly scenario?: string;
  readonly endpoint?: string;
  readonly rate?: string;
  readonly arrivals?: string;
  readonly clients?: string;
  readonly users?: string;
  readonly promptTokens?: string;
  readonly outputTokens?: string;
  readonly trace?: string;
  readonly turns?: string;
  readonly sharedTokens?: string;
  readonly documents?: string;
  readonly items?: string;
  readonly floodModel?: string;
  readonly floodRate?: string;
  readonly duration?: string;
  readonly requests?: string;
  readonly repetitions?: string;
  readonly warmup?: string;
  readonly seed?: string;
  readonly slo?: string;
  readonly sweep?: string;
  readonly threshold?: readonly string[];
  readonly json?: string;
  readonly html?: string;
  readonly weights?: string;
  readonly machine?: string;
  readonly readyPath?: string;
  readonly keepSpawned?: true;
  readonly connectTimeout?: string;
  readonly firstTimeout?: string;
  readonly stallTimeout?: string;
  readonly requestTimeout?: string;
  readonly startTimeout?: string;
  readonly drainTimeout?: string;
}

const collect = (text: string, before: readonly string[] = []): string[] => [...before, text];

export function benchFlags(command: Command): Command {
  return command
    .option('--target <name=url>', 'a server that runs; may be given several times', collect)
    .option('--spawn <name=command>', 'a server to start and stop; {port} is replaced', collect)
    .option('--model <id>', 'model of all targets, or NAME=ID of one (default: its first)', collect)
    .option('--api-key-env <variable>', 'variable with the key, or NAME=VARIABLE', collect)
    .option('--scenario <name>', 'chat, rag, agent, batch, embed, rerank or mixed (default: chat)')
    .option('--endpoint <name>', 'chat or completions (default: chat)')
    .option('--clients <count>', 'closed loop: so many wait for their answers (default: 4)')
    .option('--rate <count>', 'open loop: so many requests per second, Poisson')
    .option('--arrivals <file>', 'open loop: seconds of the arrivals, one on each line')
    .option('--users <count>', 'open loop: conversations side by side (default: 16)')
    .option('--prompt-tokens <length>', '512, or lognormal:median=512,sigma=0.8,max=4096')
    .option('--output-tokens <length>', 'the same of answers')
    .option('--trace <file>', 'conversations or lengths of a JSONL file, ShareGPT too')
    .option('--turns <count>', 'turns of a conversation')
    .option('--shared-tokens <count>', 'tokens that requests share: document or system prompt')
    .option('--documents <count>', 'shared documents of rag')
    .option('--items <count>', 'texts to embed or documents to rank in one request')
    .option('--flood-model <id>', 'mixed: model of the embedding flood')
    .option('--flood-rate <count>', 'mixed: embedding requests per second (default: 64)')
    .option('--duration <time>', 'of each run, as 30s (default: 30s unless --requests)')
    .option('--requests <count>', 'of each run')
    .option('--repetitions <count>', 'of each target, interleaved (default: 3; of a sweep 1)')
    .option('--warmup <count>', 'requests before each run that do not count (default: 4)')
    .option('--seed <number>', 'the same seed sends the same requests (default: 1)')
    .option('--slo <limits>', 'objective of goodput, as ttft=500ms,itl=60ms (also gap, e2e)')
    .option('--sweep <values>', 'rate=1..64 or clients=1..64: until it breaks; finds the knee')
    .option('--threshold <condition>', "exit code 1 unless it holds, as 'ttft.p95<500ms'", collect)
    .option('--json <file>', 'write the report; - is standard output, instead of the table')
    .option('--html <file>', 'write the report as one page')
    .option('--weights <model>', 'what targets serve, as fit names it: predicts their speed')
    .option('--machine <id>', 'what they run on, for prediction and cost (default: this one)')
    .option('--keep-spawned', 'run spawned servers beside each other, not each for its own runs')
    .option(
      '--ready-path <path>',
      'answers 200 when a spawned server is ready (default: found out)',
    )
    .option('--connect-timeout <time>', 'until a connection stands (default: 10s)')
    .option('--first-timeout <time>', 'until the first text (default: 120s)')
    .option('--stall-timeout <time>', 'without a byte in a stream (default: 30s)')
    .option('--request-timeout <time>', 'for a whole request (default: 600s)')
    .option('--start-timeout <time>', 'for a spawned server to be ready (default: 300s)')
    .option('--drain-timeout <time>', 'for what is on its way when a run is over (default: 60s)');
}
