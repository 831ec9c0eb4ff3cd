/**
 * `plenum chat`: in a terminal a conversation, elsewhere one question and its answer alone. It
 * talks to a server that is running; it starts none.
 */
import { type Command, Option } from 'commander';
import { PlenumError } from '../../base/errors.ts';
import type { ChatCall, ChatEnd, ChatServer } from '../chat-client.ts';
import type { CliContext } from '../context.ts';

/** Longest question that is read from standard input, in bytes. */
const INPUT_BYTES_MAX = 4 << 20;
const URL_DEFAULT = 'http://127.0.0.1:8686';

interface ChatOptions {
  readonly url?: string;
  readonly model?: string;
  readonly system?: string;
  readonly apiKeyEnv?: string;
  readonly message?: string;
  readonly json?: true;
  readonly temperature?: number;
  readonly topP?: number;
  readonly maxTokens?: number;
  readonly seed?: number;
}

const EXAMPLES = `
Examples:
  plenum chat                             a conversation with the local server
  plenum chat -m "Why is the sky blue?"   one question; prints the answer and nothing else
  plenum chat < question.txt              the same, with the question from a file
  plenum chat --url http://other:8686 --model org/repo:Q4_K_M
`;

export function registerChat(program: Command, context: CliContext): void {
  program
    .command('chat')
    .summary('talk to a server in the terminal')
    .description('Talks to a running server, Plenum or any other that is OpenAI-compatible.')
    .option('-u, --url <url>', `the server (default: PLENUM_URL, else ${URL_DEFAULT})`)
    .option('--model <id>', 'the model (default: the first that the server lists)')
    .option('-s, --system <text>', 'system prompt')
    .option('--api-key-env <name>', 'variable that holds the API key (default: PLENUM_API_KEY)')
    .option('-m, --message <text>', 'ask this, print the answer, end; standard input is not read')
    .option('--json', 'print one JSON object with the answer and its numbers (not in a terminal)')
    .addOption(numberOption('--temperature <number>', 'how random the words are, 0 to 2'))
    .addOption(numberOption('--top-p <number>', 'nucleus sampling, 0 to 1'))
    .addOption(numberOption('--max-tokens <count>', 'longest answer'))
    .addOption(numberOption('--seed <number>', 'the same seed draws the same way'))
    .addHelpText('after', EXAMPLES)
    .action((options: ChatOptions) => chat(options, context));
}

function numberOption(flags: string, help: string): Option {
  return new Option(flags, help).argParser((text) => {
    if (/^-?\d+(\.\d+)?$/.test(text)) return Number(text);
    throw new PlenumError('usage', `${flags.split(' ')[0]} is "${text}"; expected a number`);
  });
}

async function chat(options: ChatOptions, context: CliContext): Promise<void> {
  const interactive = options.message === undefined && context.stdin.isTTY && context.stdout.isTTY;
  if (interactive && options.json === true) {
    throw new PlenumError('usage', '--json needs a question: -m TEXT, or one on standard input');
  }
  const server = serverOf(options, context);
  const parameters = parametersOf(options);
  const system = options.system ?? null;
  if (interactive) return converse({ server, parameters, system, options }, context);
  const question = options.message ?? (await readAll(context));
  if (question.trim() === '') throw new PlenumError('usage', 'the question is empty');
  await askOnce({ server, parameters, system, options, question }, context);
}

function serverOf(options: ChatOptions, { env }: CliContext): ChatServer {
  const url = options.url ?? (env.PLENUM_URL || URL_DEFAULT);
  if (!/^https?:\/\/[^/]/.test(url) || !URL.canParse(url)) {
    throw new PlenumError('usage', `"${url}" is not the URL of a server; one is ${URL_DEFAULT}`);
  }
  const name = options.apiKeyEnv ?? 'PLENUM_API_KEY';
  const apiKey = env[name] || null;
  if (apiKey === null && options.apiKeyEnv !== undefined) {
    throw new PlenumError('usage', `the environment variable ${name} is not set`);
  }
  return { url, apiKey };
}

function parametersOf(options: ChatOptions): ChatCall['parameters'] {
  const { temperature, topP, maxTokens, seed } = options;
  return {
    ...(temperature === undefined ? {} : { temperature }),
    ...(topP === undefined ? {} : { top_p: topP }),
    ...(maxTokens === undefined ? {} : { max_tokens: maxTokens }),
    ...(seed === undefined ? {} : { seed }),
  };
}

async function readAll({ stdin }: CliContext): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stdin.stream) {
    const bytes = Buffer.from(chunk);
    size += bytes.length;
    if (size > INPUT_BYTES_MAX) {
      const limit = `${INPUT_BYTES_MAX} bytes are read from standard input`;
      throw new PlenumError('usage', `the question is too long: at most ${limit}`);
    }
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString('utf8');
}

interface Job {
  readonly server: ChatServer;
  readonly parameters: ChatCall['parameters'];
  readonly system: string | null;
  readonly options: ChatOptions;
}

async function converse(job: Job, context: CliContext): Promise<void> {
  const [{ firstModel }, { ChatSession }, { terminalOf }] = await Promise.all([
    import('../chat-client.ts'),
    import('../chat-session.ts'),
    import('../chat-terminal.ts'),
  ]);
  const { server, parameters, system } = job;
  const model = job.options.model ?? (await firstModel(server, AbortSignal.timeout(10_000)));
  const terminal = terminalOf(context);
  try {
    await new ChatSession(context, { server, model, system, parameters }).run(terminal);
  } finally {
    terminal.close();
  }
}

async function askOnce(
  { server, parameters, system, options, question }: Job & { readonly question: string },
  context: CliContext,
): Promise<void> {
  const { firstModel, streamChat } = await import('../chat-client.ts');
  const { printable } = await import('../chat-session.ts');
  const { stdout } = context;
  const signal = context.interrupted();
  const model = options.model ?? (await firstModel(server, signal));
  const messages = [
    ...(system === null ? [] : [{ role: 'system' as const, content: system }]),
    { role: 'user' as const, content: question },
  ];
  let answer = '';
  let end: ChatEnd | null = null;
  for await (const event of streamChat(server, { model, messages, parameters, signal })) {
    if (event.kind === 'end') {
      end = event.end;
      continue;
    }
    answer += event.text;
    if (options.json !== true) stdout.write(stdout.isTTY ? printable(event.text) : event.text);
  }
  if (options.json === true) stdout.write(`${JSON.stringify(jsonOf(model, answer, end))}\n`);
  else if (!answer.endsWith('\n')) stdout.write('\n');
}

const rounded = (value: number | null | undefined): number | null =>
  value === null || value === undefined ? null : Math.round(value * 100) / 100;

function jsonOf(model: string, answer: string, end: ChatEnd | null): Record<string, unknown> {
  return {
    model,
    answer,
    finish_reason: end?.finishReason ?? null,
    prompt_tokens: end?.promptTokens ?? null,
    cached_tokens: end?.cachedTokens ?? null,
    completion_tokens: end?.completionTokens ?? null,
    ttft_ms: rounded(end?.ttftMs),
    tokens_per_second: rounded(end?.tokensPerSecond),
  };
}
