/**
 * The rule of the ranks can fail: each rule of .dependency-cruiser.cjs refuses a planted
 * violation, and the real tree is really read (a parser that cannot read TypeScript cruises nothing
 * and finds nothing).
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { z } from 'zod';

const ROOT = join(import.meta.dirname, '..');
const CRUISER = join(ROOT, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs');

const outputSchema = z.object({
  summary: z.object({
    totalCruised: z.number(),
    violations: z.array(z.object({ from: z.string(), rule: z.object({ name: z.string() }) })),
  }),
});

/** Cruises the `src` of a folder with the configuration of this repository. */
function cruise(folder: string) {
  const config = join(ROOT, '.dependency-cruiser.cjs');
  const args = [CRUISER, '--config', config, '--output-type', 'json', 'src'];
  const run = spawnSync(process.execPath, args, {
    cwd: folder,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  expect(run.stderr).not.toMatch(/error/i);
  return outputSchema.parse(JSON.parse(run.stdout)).summary;
}

const folders: string[] = [];

function plant(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'plenum-ranks-'));
  folders.push(folder);
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), text);
  }
  return folder;
}

const CLEAN = {
  'src/base/units.ts': 'export const a = 1; export type A = number;',
  'src/wire/shape.ts': "import { a } from '../base/units.ts'; export const b = a;",
  'src/scheduler/plan.ts': "import type { A } from '../base/units.ts'; export type P = A;",
  'src/engine/llama/binding.ts': "import koffi from 'koffi'; export const k = koffi;",
  'src/host/main.ts': "import { k } from '../engine/llama/binding.ts'; export const h = k;",
};

/** What the planted imports need to be there. */
const BYSTANDERS = {
  'src/stream/text.ts': 'export const t = 1;',
  'src/wire/x.test.ts': 'export const t = 1;',
  'src/wire/y.ts': "import './cycle.ts';",
};

const VIOLATIONS = [
  {
    what: 'an import upwards',
    rule: 'rank-wire',
    file: 'src/wire/up.ts',
    text: "import '../host/main.ts';",
  },
  {
    what: 'a type import upwards',
    rule: 'rank-base',
    file: 'src/base/up.ts',
    text: "import type { P } from '../scheduler/plan.ts'; export type Q = P;",
  },
  {
    what: 'an import between rooms of one rank',
    rule: 'rank-scheduler',
    file: 'src/scheduler/side.ts',
    text: "import '../stream/text.ts';",
  },
  {
    what: 'a room without a rank',
    rule: 'known-room',
    file: 'src/drawer/x.ts',
    text: "import '../base/units.ts';",
  },
  {
    what: 'a file read in a pure room',
    rule: 'pure-rooms',
    file: 'src/scheduler/io.ts',
    text: "import 'node:fs';",
  },
  {
    what: 'the native library beyond its door',
    rule: 'one-door-to-the-library',
    file: 'src/host/ffi.ts',
    text: "import 'koffi';",
  },
  {
    what: 'an import of a test',
    rule: 'not-from-tests',
    file: 'src/wire/tested.ts',
    text: "import './x.test.ts';",
  },
  {
    what: 'an import of nothing',
    rule: 'resolvable',
    file: 'src/wire/absent.ts',
    text: "import './nothing.ts';",
  },
  {
    what: 'a cycle',
    rule: 'no-circular',
    file: 'src/wire/cycle.ts',
    text: "import './y.ts';",
  },
];

const plantedFiles = () => Object.fromEntries(VIOLATIONS.map(({ file, text }) => [file, text]));
let planted: ReturnType<typeof cruise> | undefined;

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

describe('the ranks', () => {
  it('are kept by the real tree, of which every module is read', () => {
    const summary = cruise(ROOT);
    expect(summary.violations).toEqual([]);
    expect(summary.totalCruised).toBeGreaterThan(20);
  });

  it('let a clean tree pass', () => {
    const summary = cruise(plant(CLEAN));
    expect(summary.violations).toEqual([]);
    expect(summary.totalCruised).toBeGreaterThanOrEqual(5);
  });

  describe('refuse', () => {
    it.each(VIOLATIONS)('$what', ({ rule, file }) => {
      planted ??= cruise(plant({ ...CLEAN, ...BYSTANDERS, ...plantedFiles() }));
      const found = planted.violations.filter((violation) => violation.from === file);
      expect(found.map((violation) => violation.rule.name)).toEqual([rule]);
    });
  });
});
