/**
 * The style of the tree as functions: text of a file in, findings out. Knows nothing of files on
 * disk (tidy.test.ts walks them). What Biome and tsc hold already (function length, unused names)
 * is not repeated here, but for what a suppression comment could switch off.
 */
import { parseSync } from '@swc/core';

/** `file` is relative to the root of the repository, with forward slashes. */
export interface SourceFile {
  readonly file: string;
  readonly text: string;
}

export interface Finding {
  readonly rule: string;
  readonly line: number;
  readonly what: string;
}

const LINES_MAX = 400;
const COLUMNS_MAX = 100;

/** Words are put together here, so that this file does not contain what it forbids. */
const words = (...parts: readonly string[]): string => parts.join('');
const alternatives = (list: readonly string[], flags = ''): RegExp =>
  new RegExp(list.join('|'), flags);

const UNFINISHED = alternatives([
  words('\\bTO', 'DO\\b'),
  words('\\bFIX', 'ME\\b'),
  words('\\bXX', 'X\\b'),
]);

const MACHINE_PATHS = alternatives([
  words('/ho', 'me/'),
  words('/Us', 'ers/'),
  words('/tmp', '/lab'),
  words('(?<![\\w.$}-])/wo', 'rk/'),
]);

/** Package registries: a tree that names one does not install where only a mirror is reachable. */
const REGISTRIES = alternatives([
  words('npm', 'js\\.(org|com)'),
  words('npm', 'mirror\\.com'),
  words('yarn', 'pkg\\.com'),
  words('js', 'r\\.io'),
  words('py', 'pi\\.org'),
  words('python', 'hosted\\.org'),
  words('crates', '\\.io'),
  words('ruby', 'gems\\.org'),
  words('proxy\\.go', 'lang\\.org'),
]);

/** The tree says what is, not who made it or when. */
const MAKERS = alternatives(
  [
    words('\\bcl', 'aude\\b'),
    words('\\bco', 'pilot\\b'),
    words('\\bchat', 'gpt\\b'),
    words('co-auth', 'ored-by'),
    words('\\b(this|previous|last|earlier|next|another) ses', 'sion\\b'),
    words('\\bas an a', 'i\\b'),
    words('\\b(written|generated|made) (by|with) (an? )?(a', 'i|ll', 'm|assis', 'tant)\\b'),
    words('\\bthe br', 'ief\\b'),
  ],
  'i',
);

/** Rules for every text file of the tree. */
export function textFindings({ file, text }: SourceFile): Finding[] {
  const findings = [
    ...perLine(text, 'unfinished', UNFINISHED),
    ...perLine(text, 'machine path', MACHINE_PATHS),
    ...perLine(text, 'registry host', REGISTRIES),
    ...perLine(text, 'maker', MAKERS),
  ];
  if (file.endsWith('package-lock.json')) {
    findings.push(...perLine(text, 'lock without addresses', /"resolved":/));
  }
  return findings;
}

/** A long address, or code with a literal so long that the formatter leaves it on its line. */
function isUnbreakable(line: string): boolean {
  const isComment = /^\s*(\*|\/\/|\/\*)/.test(line);
  return /https?:\/\/\S{60}/.test(line) || (!isComment && /['"`/][^'"`]{45}/.test(line));
}

/** Rules for TypeScript. */
export function codeFindings({ file, text }: SourceFile): Finding[] {
  const lines = text.replace(/\n$/, '').split('\n');
  const findings: Finding[] = [];
  if (lines.length > LINES_MAX) {
    findings.push({ rule: 'file length', line: LINES_MAX + 1, what: `${lines.length} lines` });
  }
  const first = lines.find((line) => !line.startsWith('#!')) ?? '';
  // A test is named for what it shows; its names are its opening.
  if (!file.endsWith('.test.ts') && !/^\/[/*]/.test(first)) {
    findings.push({ rule: 'opening comment', line: 1, what: first.slice(0, 40) });
  }
  lines.forEach((line, index) => {
    const columns = [...line].length;
    if (columns <= COLUMNS_MAX || isUnbreakable(line)) return;
    findings.push({ rule: 'line length', line: index + 1, what: `${columns} columns` });
  });
  return [...findings, ...suppressionFindings(lines), ...skippedTests(lines), ...looseTypes(text)];
}

function perLine(text: string, rule: string, pattern: RegExp): Finding[] {
  return text.split('\n').flatMap((line, index) => {
    const what = pattern.exec(line)?.[0];
    return what === undefined ? [] : [{ rule, line: index + 1, what }];
  });
}

/** A comment that switches a check off says why, after it on the same line. */
function suppressionFindings(lines: readonly string[]): Finding[] {
  const pattern = new RegExp(
    words('(@ts-(?:ig', 'nore|expect-error|nocheck)|bio', 'me-ignore\\S*)(.*)'),
  );
  return lines.flatMap((line, index) => {
    const [, what = '', rest = ''] = pattern.exec(line) ?? [];
    if (what === '') return [];
    const reason = what.startsWith('@') ? rest : rest.slice(rest.indexOf(':') + 1);
    if (/\w{3,}.*\w{3,}/.test(reason)) return [];
    return [{ rule: 'suppression without a reason', line: index + 1, what }];
  });
}

/** A test that does not run says why, in a comment beside it; one that runs alone is a mistake. */
function skippedTests(lines: readonly string[]): Finding[] {
  const pattern = /\b(?:it|test|describe)(?:\.\w+)*\.(skip|skipIf|runIf|todo|fails|only)\b/;
  return lines.flatMap((line, index) => {
    const [what, kind] = pattern.exec(line) ?? [];
    if (what === undefined) return [];
    if (kind !== 'only' && hasCommentBeside(lines, index)) return [];
    return [{ rule: 'skipped test without a reason', line: index + 1, what }];
  });
}

function hasCommentBeside(lines: readonly string[], index: number): boolean {
  const above = (lines[index - 1] ?? '').trim();
  return /\/\/ *\S/.test(lines[index] ?? '') || /^(\/\/|\*|\/\*)/.test(above);
}

/** `any`, `!` and a cast by way of `unknown`, found in the syntax tree. */
function looseTypes(text: string): Finding[] {
  const lines = text.split('\n');
  const source = Buffer.from(text);
  const findings: Finding[] = [];
  const report = (what: string, span: unknown): void => {
    const line = lineOf(source, span);
    if (hasCommentBeside(lines, line - 1)) return;
    findings.push({ rule: 'loose type without a reason', line, what });
  };
  visit(parseSync(text, { syntax: 'typescript', target: 'es2024' }), (node) => {
    if (node.type === 'TsNonNullExpression') report('!', node.span);
    if (node.type === 'TsKeywordType' && node.kind === 'any') report('any', node.span);
    if (node.type === 'TsAsExpression' && isCastToUnknown(node.expression)) {
      report('as … as', node.span);
    }
  });
  return findings;
}

type SyntaxNode = Readonly<Record<string, unknown>>;

const isNode = (value: unknown): value is SyntaxNode => typeof value === 'object' && value !== null;

function isCastToUnknown(value: unknown): boolean {
  if (!isNode(value) || value.type !== 'TsAsExpression') return false;
  const target = value.typeAnnotation;
  return isNode(target) && target.type === 'TsKeywordType' && target.kind === 'unknown';
}

function visit(value: unknown, see: (node: SyntaxNode) => void): void {
  if (!isNode(value)) return;
  see(value);
  for (const child of Object.values(value)) visit(child, see);
}

/** swc counts bytes, from 1 at the start of the text. */
function lineOf(source: Buffer, span: unknown): number {
  const start = isNode(span) ? Number(span.start) - 1 : 0;
  let line = 1;
  for (const byte of source.subarray(0, start)) if (byte === 0x0a) line += 1;
  return line;
}
