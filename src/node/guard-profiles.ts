/**
 * How each family of generative safety models is asked, and how its answer reads. A question is a
 * prompt that ends just before the word that decides; nothing is generated, the word's probability
 * is read. Conversations go through the model's own chat template, which carries the published
 * instructions; where a model has none, the words here are ours.
 */
import type { CategoryScore } from '../wire/guard.ts';

export interface Turn {
  readonly role: 'user' | 'assistant';
  readonly content: string;
}

/** A conversation that begins with the user, turns alternating; the last turn is judged. */
export type Said = readonly Turn[];

/** By what a family is recognised. */
export interface GuardTraits {
  readonly id: string;
  readonly description: string;
  readonly template: string | null;
}

export interface GuardQuestion {
  readonly messages: readonly Turn[];
  readonly templateArgs: Readonly<Record<string, unknown>>;
  /** What stands between the rendered prompt and the deciding word. */
  readonly prime: (prompt: string) => string;
  readonly answers: readonly GuardAnswer[];
}

export interface GuardAnswer {
  readonly name: string;
  /** Spellings; the first token of each is looked at. */
  readonly forms: readonly string[];
}

/** Share of each answer of a question, summing to 1; null where its words share first tokens. */
export type Shares = ReadonlyMap<string, number> | null;

export interface Reading {
  readonly score: number;
  readonly categories: readonly CategoryScore[];
}

export interface GuardProfile {
  readonly name: string;
  readonly matches: (traits: GuardTraits) => boolean;
  /** The first question decides; `detail` asks for categories too. `sample`: a rendered prompt. */
  readonly ask: (
    said: Said,
    options: { readonly detail: boolean; readonly traits: GuardTraits; readonly sample: string },
  ) => readonly GuardQuestion[];
  /** `shares` in the order of the questions. */
  readonly read: (shares: readonly Shares[]) => Reading;
}

const named = (pattern: RegExp) => (traits: GuardTraits) =>
  pattern.test(traits.id) || pattern.test(traits.description);

const UNSAFE = 'unsafe';

/** The categories after an unsafe verdict, as shares of its probability. */
function withCategories(score: number, shares: Shares | undefined): Reading {
  if (shares === undefined || shares === null || shares.size === 0) {
    return { score, categories: [{ name: UNSAFE, score }] };
  }
  const categories = [...shares].map(([name, share]) => ({ name, score: score * share }));
  return { score, categories };
}

/** The hazards of MLCommons, which Llama Guard 3 and 4 number S1 to S14. */
const HAZARDS = [
  'violent crimes',
  'non-violent crimes',
  'sex-related crimes',
  'child sexual exploitation',
  'defamation',
  'specialized advice',
  'privacy',
  'intellectual property',
  'indiscriminate weapons',
  'hate',
  'suicide & self-harm',
  'sexual content',
  'elections',
  'code interpreter abuse',
];

/** `Violent Crimes.` → `violent_crimes`. */
const slug = (name: string): string =>
  name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '_')
    .replace(/^_|_$/g, '');

/** The numbered categories that the model's own template lists; the published ones without. */
function numberedCategories(sample: string): { letter: string; answers: GuardAnswer[] } {
  const found = [...sample.matchAll(/^\W*([SO])(\d{1,2}): ([^\n]{1,80})$/gm)];
  const listed = found.map(([, , number = '', name = '']) => ({
    name: slug(name),
    forms: [number],
  }));
  const answers =
    listed.length > 1
      ? listed
      : HAZARDS.map((name, index) => ({ name: slug(name), forms: [String(index + 1)] }));
  return { letter: found[0]?.[1] ?? 'S', answers };
}

const LLAMA_GUARD: GuardProfile = {
  name: 'llama-guard',
  matches: named(/llama[-_ ]?guard/i),
  ask: (said, { detail, sample }) => {
    // The model begins its answer with an empty line, which newer templates already write.
    const gap = (prompt: string): string => (/\n\n$|\[\/INST\] ?$/.test(prompt) ? '' : '\n\n');
    const { letter, answers } = numberedCategories(sample);
    const verdict = {
      messages: said,
      templateArgs: {},
      prime: gap,
      answers: [
        { name: 'safe', forms: ['safe'] },
        { name: UNSAFE, forms: ['unsafe'] },
      ],
    };
    const which = { ...verdict, prime: (p: string) => `${gap(p)}unsafe\n${letter}`, answers };
    return detail ? [verdict, which] : [verdict];
  },
  read: ([verdict, which]) => withCategories(verdict?.get(UNSAFE) ?? 0, which),
};

const QWEN_CATEGORIES = [
  'Violent',
  'Non-violent Illegal Acts',
  'Sexual Content or Sexual Acts',
  'PII',
  'Suicide & Self-Harm',
  'Unethical Acts',
  'Politically Sensitive Topics',
  'Copyright Violation',
  'Jailbreak',
];
/** What the family calls controversial is unsafe to some users: half of it counts. */
const CONTROVERSIAL_WEIGHT = 0.5;

const QWEN_GUARD: GuardProfile = {
  name: 'qwen3-guard',
  matches: named(/qwen3[-_ ]?guard/i),
  ask: (said, { detail }) => {
    const verdict = {
      messages: said,
      templateArgs: {},
      prime: () => 'Safety:',
      answers: ['Safe', 'Controversial', 'Unsafe'].map((name) => ({ name, forms: [` ${name}`] })),
    };
    const which = {
      ...verdict,
      prime: () => 'Safety: Unsafe\nCategories:',
      answers: QWEN_CATEGORIES.map((name) => ({ name: slug(name), forms: [` ${name}`] })),
    };
    return detail ? [verdict, which] : [verdict];
  },
  read: ([verdict, which]) => {
    const controversial = verdict?.get('Controversial') ?? 0;
    const score = (verdict?.get('Unsafe') ?? 0) + CONTROVERSIAL_WEIGHT * controversial;
    return withCategories(score, which);
  },
};

const YES_NO: readonly GuardAnswer[] = [
  { name: 'yes', forms: ['Yes', ' Yes', 'yes'] },
  { name: 'no', forms: ['No', ' No', 'no'] },
];

/** One policy per question; the names are the family's own. */
const GEMMA_POLICIES: Readonly<Record<string, string>> = {
  dangerous_content:
    'No dangerous content: nothing that helps to harm oneself or others, such as making weapons ' +
    'or drugs, or encouraging suicide.',
  harassment:
    'No harassment: nothing malicious, intimidating, bullying or abusive that aims at a person.',
  hate_speech:
    'No hate speech: nothing that demeans or attacks people for what they are, such as their ' +
    'origin, religion, disability, sex or orientation.',
  sexually_explicit_information:
    'No sexually explicit content: no graphic descriptions of sexual acts; education and ' +
    'medicine are fine.',
};

const SHIELD_GEMMA: GuardProfile = {
  name: 'shieldgemma',
  matches: named(/shield[-_ ]?gemma/i),
  ask: (said, { traits }) =>
    Object.values(GEMMA_POLICIES).map((guideline) => ({
      // Its published template takes the policy as a variable; others get it in our words.
      messages: traits.template?.includes('guideline') === true ? said : [review(said, guideline)],
      templateArgs: { guideline },
      prime: () => '',
      answers: YES_NO,
    })),
  read: (shares) => {
    const categories = Object.keys(GEMMA_POLICIES).map((name, index) => ({
      name,
      score: shares[index]?.get('yes') ?? 0,
    }));
    return { score: Math.max(...categories.map((one) => one.score)), categories };
  },
};

const POLICY =
  'No help with or praise of violence, crime, weapons, hate, harassment, self-harm or sexual ' +
  'abuse; no sexually explicit content; no private data of others.';

/** Any model that follows instructions. */
const INSTRUCTED: GuardProfile = {
  name: 'instructed',
  matches: () => true,
  ask: (said) => [
    { messages: [review(said, POLICY)], templateArgs: {}, prime: () => '', answers: YES_NO },
  ],
  read: ([verdict]) => withCategories(verdict?.get('yes') ?? 0, null),
};

/** The whole question as one user turn, in our words. */
function review(said: Said, policy: string): Turn {
  const whose = said.at(-1)?.role === 'assistant' ? 'the last reply of the assistant' : 'the user';
  const lines = said.map(
    ({ role, content }) => `${role === 'user' ? 'User' : 'Assistant'}: ${content}`,
  );
  return {
    role: 'user',
    content: [
      // What is the same for every conversation comes first: its cells are shared.
      'Review a conversation for safety.',
      `Policy: ${policy}`,
      '',
      '--- conversation ---',
      ...lines,
      '--- end ---',
      '',
      `Does ${whose} break the policy? Answer with one word, Yes or No.`,
    ].join('\n'),
  };
}

const PROFILES: readonly GuardProfile[] = [LLAMA_GUARD, QWEN_GUARD, SHIELD_GEMMA, INSTRUCTED];

/** The family that a model belongs to; the one for any instructed model at last. */
export function guardProfileOf(traits: GuardTraits): GuardProfile {
  return PROFILES.find((profile) => profile.matches(traits)) ?? INSTRUCTED;
}

/** True for models of a family that was made to judge. */
export const isGuardFamily = (traits: GuardTraits): boolean =>
  guardProfileOf(traits) !== INSTRUCTED;
