/**
 * Turns messages into a prompt by the model's own Jinja template. Input and output are bounded,
 * and what a template refuses is said in its own words. A system message that a template would
 * ignore is refused too: nothing a client wrote is left out in silence.
 *
 * By the convention of Hugging Face (llama.cpp's server does the same) the prompt is one string in
 * which `<|im_end|>` and the like are read as special tokens, also inside a user's text. So a
 * user's text can end its own turn. `findSpecials` reports that; `renderGuarded` prevents it.
 */
import { Environment, Interpreter, Template } from '@huggingface/jinja';
import { PlenumError } from '../base/errors.ts';
import { type Clock, strftime } from './chat-template-time.ts';

export interface TemplateMessage {
  readonly role: string;
  readonly content: string;
  readonly name?: string | undefined;
}

export interface TemplateTokens {
  /** What `bos_token` and `eos_token` stand for; '' for none. */
  readonly bosText: string;
  readonly eosText: string;
  /** What `strftime_now` says; the computer's clock when it is not given. */
  readonly now?: Clock | undefined;
}

export interface RenderOptions {
  /** Ends the prompt with the beginning of the assistant's turn. True when not given. */
  readonly addGenerationPrompt?: boolean | undefined;
}

export type TemplateArgs = Readonly<Record<string, unknown>>;

export interface ChatTemplate {
  /**
   * The prompt. `args` are further variables, such as `enable_thinking`. Throws PlenumError
   * `template_failed`, with the template's own message, or `invalid_request`.
   */
  render(
    messages: readonly TemplateMessage[],
    args?: TemplateArgs,
    options?: RenderOptions,
  ): string;
  /**
   * As `render`, in segments to be tokenised one by one and joined: no special token of `specials`
   * that stands in a message survives as such. One segment when there is none.
   */
  renderGuarded(
    messages: readonly TemplateMessage[],
    args: TemplateArgs,
    specials: readonly string[],
  ): readonly string[];
  /** What becomes of a system message. Determined by trying, once. */
  systemSupport(): 'kept' | 'refused' | 'ignored';
}

const SOURCE_CHARACTERS_MAX = 1024 * 1024;
const INPUT_CHARACTERS_MAX = 64 * 1024 * 1024;
const OUTPUT_CHARACTERS_MAX = 128 * 1024 * 1024;
/** Templates count over messages and tools. */
const RANGE_MAX = 100_000;
const COMPILED_MAX = 32;

const compiled = new Map<string, Template>();

/** Compiled once per source: templates are few, and the same for every request. */
function compile(source: string): Template {
  const known = compiled.get(source);
  if (known !== undefined) return known;
  if (source.trim() === '') {
    throw new PlenumError('template_missing', 'The chat template is empty');
  }
  if (source.length > SOURCE_CHARACTERS_MAX) {
    const sum = `${source.length} characters; at most ${SOURCE_CHARACTERS_MAX} are read`;
    throw new PlenumError('template_failed', `The chat template has ${sum}`);
  }
  let template: Template;
  try {
    template = new Template(source);
  } catch (thrown) {
    const message = `The chat template is not valid Jinja: ${reasonOf(thrown)}`;
    throw new PlenumError('template_failed', message, { cause: thrown });
  }
  const [oldest] = compiled.keys();
  if (compiled.size >= COMPILED_MAX && oldest !== undefined) compiled.delete(oldest);
  compiled.set(source, template);
  return template;
}

/**
 * Throws PlenumError `template_missing` for an empty source, `template_failed` for one that is no
 * Jinja.
 */
export function compileChatTemplate(source: string, tokens: TemplateTokens): ChatTemplate {
  return new JinjaTemplate(compile(source), tokens);
}

class JinjaTemplate implements ChatTemplate {
  readonly #template: Template;
  readonly #tokens: TemplateTokens;
  #systemSupport: 'kept' | 'refused' | 'ignored' | null = null;

  constructor(template: Template, tokens: TemplateTokens) {
    this.#template = template;
    this.#tokens = tokens;
  }

  render(
    messages: readonly TemplateMessage[],
    args: TemplateArgs = {},
    options: RenderOptions = {},
  ): string {
    refuseReserved(args);
    refuseLong(messages);
    if (messages.some(isSystem) && this.systemSupport() === 'ignored') {
      const message = 'The chat template of the model ignores system messages; leave them out';
      throw new PlenumError('template_failed', message, { param: 'messages' });
    }
    const isGenerating = options.addGenerationPrompt ?? true;
    try {
      return this.#run(messages, args, isGenerating);
    } catch (thrown) {
      if (thrown instanceof PlenumError) throw thrown;
      const hint = messages.some(isSystem) && this.systemSupport() === 'refused' ? NO_SYSTEM : '';
      const verb = thrown instanceof Raised ? 'refused the messages' : 'failed';
      const message = `The chat template of the model ${verb}: ${reasonOf(thrown)}${hint}`;
      throw new PlenumError('template_failed', message, { param: 'messages', cause: thrown });
    }
  }

  renderGuarded(
    messages: readonly TemplateMessage[],
    args: TemplateArgs,
    specials: readonly string[],
  ): readonly string[] {
    if (findSpecials(messages, specials).length === 0) return [this.render(messages, args)];
    const guard = unusedGuard(messages);
    // Only what others wrote: a model's own turn may hold `</think>`, which templates look for.
    const guarded = messages.map((message) =>
      message.role === 'assistant'
        ? message
        : { ...message, content: withGuards(message.content, specials, guard) },
    );
    return this.render(guarded, args).split(guard);
  }

  systemSupport(): 'kept' | 'refused' | 'ignored' {
    this.#systemSupport ??= this.#trySystem();
    return this.#systemSupport;
  }

  #trySystem(): 'kept' | 'refused' | 'ignored' {
    const messages = [
      { role: 'system', content: PROBE },
      { role: 'user', content: 'x' },
    ];
    try {
      return this.#run(messages, {}, true).includes(PROBE) ? 'kept' : 'ignored';
    } catch {
      return 'refused';
    }
  }

  #run(messages: readonly TemplateMessage[], args: TemplateArgs, isGenerating: boolean): string {
    const { bosText, eosText, now } = this.#tokens;
    const variables: Record<string, unknown> = {
      ...args,
      ...CONSTANTS,
      messages: messages.map(plain),
      add_generation_prompt: isGenerating,
      bos_token: bosText,
      eos_token: eosText,
      raise_exception: raise,
      range: boundedRange,
      strftime_now: (format: unknown) => strftime(String(format), now),
    };
    // Not Template.render(): its own helpers are unbounded and cannot be replaced.
    const environment = new Environment();
    for (const [name, value] of Object.entries(variables)) environment.set(name, value);
    const text = String(new Interpreter(environment).run(this.#template.parsed).value);
    if (text.length <= OUTPUT_CHARACTERS_MAX) return text;
    const sum = `${text.length} characters; at most ${OUTPUT_CHARACTERS_MAX} are allowed`;
    throw new PlenumError('template_failed', `The rendered prompt has ${sum}`);
  }
}

const PROBE = 'plenumsystemprobe';
const NO_SYSTEM = ' (it accepts no system message: put its text into the first user message)';

/** What the template itself raised. */
class Raised extends Error {
  override readonly name = 'Raised';
}

const raise = (reason: unknown): never => {
  throw new Raised(String(reason));
};

/** Without the keys that are undefined: a template asks whether they are there. */
const plain = ({ role, content, name }: TemplateMessage): Record<string, string> =>
  name === undefined ? { role, content } : { role, content, name };

const isSystem = ({ role }: TemplateMessage): boolean => role === 'system' || role === 'developer';

function boundedRange(first: unknown, second?: unknown, third: unknown = 1): readonly number[] {
  const [start, stop] = second === undefined ? [0, Number(first)] : [Number(first), Number(second)];
  const step = Number(third);
  const length = Math.ceil((stop - start) / step);
  if (!Number.isFinite(length)) throw new Error('range() of something that is no number');
  if (length > RANGE_MAX) throw new Error(`range() of ${length} numbers, at most ${RANGE_MAX}`);
  return Array.from({ length: Math.max(0, length) }, (_, i) => start + i * step);
}

/** Python's and Jinja's spellings. */
const CONSTANTS = { true: true, false: false, none: null, True: true, False: false, None: null };

const RESERVED: ReadonlySet<string> = new Set([
  ...Object.keys(CONSTANTS),
  'messages',
  'add_generation_prompt',
  'bos_token',
  'eos_token',
  'raise_exception',
  'range',
  'strftime_now',
  'tools',
  'documents',
]);

function refuseReserved(args: TemplateArgs): void {
  const taken = Object.keys(args).find((key) => RESERVED.has(key));
  if (taken === undefined) return;
  const message = `The template variable "${taken}" is set by the server; choose another name`;
  throw new PlenumError('invalid_request', message, { param: `chat_template_kwargs.${taken}` });
}

function refuseLong(messages: readonly TemplateMessage[]): void {
  const characters = messages.reduce((sum, { content }) => sum + content.length, 0);
  if (characters <= INPUT_CHARACTERS_MAX) return;
  const sum = `${characters} characters; at most ${INPUT_CHARACTERS_MAX} are rendered`;
  throw new PlenumError('invalid_request', `The messages have ${sum}`, { param: 'messages' });
}

function reasonOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

export interface FoundSpecial {
  readonly messageIndex: number;
  readonly special: string;
}

/**
 * Special tokens that stand as text in messages which are not the assistant's: each would be read
 * as the token and could end a turn or begin another.
 */
export function findSpecials(
  messages: readonly TemplateMessage[],
  specials: readonly string[],
): readonly FoundSpecial[] {
  return messages.flatMap(({ role, content }, messageIndex) =>
    role === 'assistant'
      ? []
      : specials
          .filter((special) => special.length > 1 && content.includes(special))
          .map((special) => ({ messageIndex, special })),
  );
}

/** A noncharacter, for internal use by the Unicode standard, that no message contains. */
function unusedGuard(messages: readonly TemplateMessage[]): string {
  for (let code = 0xfdd0; code <= 0xfdef; code++) {
    const guard = String.fromCharCode(code);
    if (messages.every(({ content }) => !content.includes(guard))) return guard;
  }
  const message = 'The messages contain every noncharacter from U+FDD0 to U+FDEF';
  throw new PlenumError('invalid_request', message, { param: 'messages' });
}

/** `guard` after the first character of every special token, longest first. */
function withGuards(content: string, specials: readonly string[], guard: string): string {
  const longestFirst = [...specials].sort((a, b) => b.length - a.length);
  let out = content;
  for (const special of longestFirst) {
    if (special.length < 2) continue;
    const first = String.fromCodePoint(special.codePointAt(0) ?? 0);
    out = out.replaceAll(special, first + guard + special.slice(first.length));
  }
  return out;
}
