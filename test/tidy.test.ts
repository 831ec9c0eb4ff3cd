/** Style is a test: every file of the tree keeps the rules, and every rule can fail. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { describe, expect, it } from 'vitest';
import { codeFindings, type SourceFile, textFindings } from './tidy-rules.ts';

const ROOT = join(import.meta.dirname, '..');

/** Not ours, or made by a tool. */
const SKIPPED_FOLDERS = new Set(['node_modules', '.git', 'coverage', 'dist']);
const TEXT_FILE = /\.(ts|tsx|js|cjs|mjs|json|md|ya?ml|html|css|svg|sh|jinja)$|(^|\/)\.ci\/[^.]+$/;
const CODE_FOLDERS = /^(src|bench|tools|test|console)\//;

function filesUnder(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return SKIPPED_FOLDERS.has(entry.name) ? [] : filesUnder(path);
    return entry.isFile() ? [relative(ROOT, path).split(sep).join('/')] : [];
  });
}

const files: SourceFile[] = filesUnder(ROOT)
  .filter((file) => TEXT_FILE.test(file))
  .map((file) => ({ file, text: readFileSync(join(ROOT, file), 'utf8') }));
const isCode = ({ file }: SourceFile): boolean => CODE_FOLDERS.test(file) && file.endsWith('.ts');

/** `file:line rule: what`. */
function report(find: (source: SourceFile) => { rule: string; line: number; what: string }[]) {
  return (source: SourceFile): string[] =>
    find(source).map(({ rule, line, what }) => `${source.file}:${line} ${rule}: ${what}`);
}

describe('the tree is tidy', () => {
  it('has code to look at', () => {
    expect(files.filter(isCode).length).toBeGreaterThan(20);
    expect(files.map(({ file }) => file)).toContain('package-lock.json');
  });

  it('in all of its text', () => {
    expect(files.flatMap(report(textFindings))).toEqual([]);
  });

  it('in all of its code', () => {
    expect(files.filter(isCode).flatMap(report(codeFindings))).toEqual([]);
  });
});

const joined = (...parts: readonly string[]): string => parts.join('');
const rules = (source: SourceFile): string[] => textFindings(source).map((f) => f.rule);
const text = (line: string): string[] => rules({ file: 'docs/page.md', text: `a\n${line}\n` });
const code = (line: string): string[] =>
  codeFindings({ file: 'src/base/x.ts', text: `// x\n\n${line}\n` }).map(
    ({ rule, line: at }) => `${rule} ${at}`,
  );

describe('each rule can fail', () => {
  it.each([
    ['unfinished', joined('a TO', 'DO b')],
    ['unfinished', joined('// FIX', 'ME')],
    ['machine path', joined('in /ho', 'me/someone/x')],
    ['machine path', joined('"/wo', 'rk/x"')],
    ['registry host', joined('https://registry.npm', 'js.org/x')],
    ['registry host', joined('https://files.python', 'hosted.org/x')],
    ['maker', joined('Co-Auth', 'ored-By: someone')],
    ['maker', joined('as the previous ses', 'sion did')],
  ])('%s', (rule, line) => {
    expect(text(line)).toEqual([rule]);
  });

  it('an address in the lock file', () => {
    const lock = { file: 'package-lock.json', text: '"resolved": "somewhere"' };
    expect(rules(lock)).toEqual(['lock without addresses']);
  });

  it('file length, line length and opening comment', () => {
    const long = {
      file: 'src/base/x.ts',
      text: `const a = 1;\n${'\n'.repeat(400)}// ${'é'.repeat(98)}\n`,
    };
    expect(codeFindings(long).map(({ rule, line }) => [rule, line])).toEqual([
      ['file length', 401],
      ['opening comment', 1],
      ['line length', 402],
    ]);
    expect(code(`// see https://example.com/${'x'.repeat(100)}`)).toEqual([]);
  });

  it.each([
    ['an any', joined('export const é = (x: an', 'y) => x;')],
    ['a non-null assertion', 'export const é = (x: string | null) => x!;'],
    ['a cast by way of unknown', joined('export const é = (x: 1) => x as unk', 'nown as 2;')],
  ])('%s, unless a comment beside it says why', (_name, line) => {
    expect(code(line)).toEqual(['loose type without a reason 3']);
    expect(code(`${line} // the library's type is wrong`)).toEqual([]);
    expect(code(`// any other word: x! as unknown as y\nexport const z = 'x!';`)).toEqual([]);
  });

  it('a suppression without its reason', () => {
    const ignore = joined('// bio', 'me-ignore lint/style/x:');
    expect(code(`${ignore} `)).toEqual(['suppression without a reason 3']);
    expect(code(`${ignore} the table is aligned by hand`)).toEqual([]);
    expect(code(joined('// @ts-ig', 'nore'))).toEqual(['suppression without a reason 3']);
  });

  it('a test that is skipped without a word, and one that runs alone', () => {
    expect(code(joined('it.sk', "ip('x', f);"))).toEqual(['skipped test without a reason 3']);
    expect(code(joined('it.sk', "ip('x', f); // needs a GPU"))).toEqual([]);
    expect(code(joined('describe.on', "ly('x', f); // why"))).toEqual([
      'skipped test without a reason 3',
    ]);
  });
});
