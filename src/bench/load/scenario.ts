/**
 * The built-in scenarios: what a conversation of each looks like. Replies in the history are made
 * here and not the server's own, so that every target gets the same bytes.
 */
import { unreachable } from '../../base/assert.ts';
import { Prng } from '../../base/prng.ts';
import type { ScenarioName } from '../result.ts';
import { drawLength, fixed, type LengthSpec } from './lengths.ts';
import { seedOf } from './seeds.ts';
import { makeText, type WordStock } from './text.ts';
import { type TraceConversation, tokensOfText } from './trace.ts';

/** What a user may set, in tokens and counts. */
export interface ScenarioSettings {
  readonly scenario: ScenarioName;
  /** New text of each turn; of each text to embed; of each document to rank. */
  readonly promptTokens: LengthSpec;
  readonly outputTokens: LengthSpec;
  /** Turns of a conversation. */
  readonly turns: number;
  /** What many requests begin with: a document of `rag`, the system prompt of `agent`. */
  readonly sharedTokens: number;
  /** Documents of `rag`, one of which each request is about. */
  readonly documents: number;
  /** Texts in one request to embed, documents in one to rank. */
  readonly items: number;
}

/** Lengths of a first guess at such an application; every one has its flag. */
export const SCENARIO_DEFAULTS: Readonly<Record<ScenarioName, Omit<ScenarioSettings, 'scenario'>>> =
  {
    chat: shape({ prompt: 128, output: 128, turns: 4 }),
    rag: shape({ prompt: 32, output: 128, shared: 2048, documents: 4 }),
    agent: shape({ prompt: 256, output: 48, turns: 6, shared: 1024 }),
    batch: shape({ prompt: 256, output: 128 }),
    embed: shape({ prompt: 128, output: 1, items: 1 }),
    rerank: shape({ prompt: 128, output: 1, items: 16 }),
    mixed: shape({ prompt: 128, output: 128, turns: 4 }),
  };

interface Shape {
  readonly prompt: number;
  readonly output: number;
  readonly turns?: number;
  readonly shared?: number;
  readonly documents?: number;
  readonly items?: number;
}

function shape(given: Shape): Omit<ScenarioSettings, 'scenario'> {
  return {
    promptTokens: fixed(given.prompt),
    outputTokens: fixed(given.output),
    turns: given.turns ?? 1,
    sharedTokens: given.shared ?? 0,
    documents: given.documents ?? 1,
    items: given.items ?? 1,
  };
}

export interface Message {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

export interface Turn {
  readonly messages: readonly Message[];
  readonly outputTokens: number;
}

export interface Script {
  readonly settings: ScenarioSettings;
  readonly stock: WordStock;
  readonly seed: number;
  readonly trace: readonly TraceConversation[] | null;
}

/** All turns of conversation `number`, each with its whole history. */
export function conversationOf(script: Script, number: number): Turn[] {
  const { trace } = script;
  if (trace !== null) return tracedTurns(script, trace, number);
  const { settings, stock, seed } = script;
  const prng = new Prng(seedOf(seed, 'conversation', number));
  const history: Message[] = [...opening(script, prng)];
  const turns: Turn[] = [];
  for (let turn = 0; turn < settings.turns; turn++) {
    const prompt = drawLength(settings.promptTokens, prng);
    const outputTokens = drawLength(settings.outputTokens, prng);
    history.push({ role: 'user', content: makeText(stock, prng, prompt) });
    turns.push({ messages: [...history], outputTokens });
    history.push({ role: 'assistant', content: makeText(stock, prng, outputTokens) });
  }
  return turns;
}

/** What a conversation begins with before its user says anything. */
function opening({ settings, stock, seed }: Script, prng: Prng): Message[] {
  const { scenario, sharedTokens, documents } = settings;
  if (sharedTokens === 0) return [];
  const which = scenario === 'rag' ? prng.int(0, documents - 1) : 0;
  const shared = new Prng(seedOf(seed, 'shared', which));
  return [{ role: 'system', content: makeText(stock, shared, sharedTokens) }];
}

function tracedTurns(
  { settings, stock, seed }: Script,
  trace: readonly TraceConversation[],
  number: number,
): Turn[] {
  const prng = new Prng(seedOf(seed, 'conversation', number));
  const traced = prng.pick(trace);
  const history: Message[] = [];
  if (traced.system !== null) history.push({ role: 'system', content: traced.system });
  return traced.turns.map((turn) => {
    const prompt = turn.promptTokens ?? drawLength(settings.promptTokens, prng);
    const content = turn.user ?? makeText(stock, prng, prompt);
    const said = turn.reply === null ? null : tokensOfText(turn.reply);
    const outputTokens = turn.outputTokens ?? said ?? drawLength(settings.outputTokens, prng);
    history.push({ role: 'user', content });
    const messages = [...history];
    const reply = turn.reply ?? makeText(stock, prng, outputTokens);
    history.push({ role: 'assistant', content: reply });
    return { messages, outputTokens };
  });
}

/** In words, for a report. */
export function describeScenario(settings: ScenarioSettings, isTraced: boolean): string {
  const { scenario, turns, sharedTokens, documents, items } = settings;
  if (isTraced) return `${scenario}: conversations of a trace`;
  switch (scenario) {
    case 'chat':
      return `chat: conversations of ${turns} turns whose history grows`;
    case 'mixed':
      return `mixed: conversations of ${turns} turns beside a flood of texts to embed`;
    case 'rag':
      return `rag: short questions about ${documents} shared contexts of ${sharedTokens} tokens`;
    case 'agent':
      return `agent: ${turns} tool-sized turns after one system prompt of ${sharedTokens} tokens`;
    case 'batch':
      return 'batch: independent prompts';
    case 'embed':
      return `embed: ${items} text(s) in each request`;
    case 'rerank':
      return `rerank: a question and ${items} documents in each request`;
    default:
      return unreachable(scenario);
  }
}
