/**
 * The profiles on this disk: one file per number of threads and kind of device, in
 * PLENUM_HOME/profiles. A profile that cannot be used is never used in part: the reader says why.
 */
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { PlenumError } from '../../base/errors.ts';
import {
  type MachineIdentity,
  type MachineProfile,
  machineProfileSchema,
  PROFILE_SCHEMA,
} from '../../wire/profile.ts';
import { differenceOf } from './identity.ts';

export const profileFolder = (home: string): string => join(home, 'profiles');

const nameOf = ({ compute, threads }: MachineProfile): string => `${compute}-${threads}.json`;

/** Replaces what was measured with as many threads. Returns where it is. */
export async function saveProfile(home: string, profile: MachineProfile): Promise<string> {
  const folder = profileFolder(home);
  await mkdir(folder, { recursive: true });
  const path = join(folder, nameOf(profile));
  const draft = `${path}.${process.pid}.part`;
  try {
    await writeFile(draft, `${JSON.stringify(profile, null, 2)}\n`);
    await rename(draft, path);
  } finally {
    await rm(draft, { force: true });
  }
  return path;
}

export interface StoredProfiles {
  /** The newest first. */
  readonly profiles: readonly MachineProfile[];
  /** Of files that cannot be read, a sentence each. */
  readonly problems: readonly string[];
}

export async function readProfiles(home: string): Promise<StoredProfiles> {
  const folder = profileFolder(home);
  const names = await readdir(folder).catch(() => []);
  const profiles: MachineProfile[] = [];
  const problems: string[] = [];
  for (const name of names.filter((file) => file.endsWith('.json')).sort()) {
    const path = join(folder, name);
    try {
      profiles.push(parseProfile(await readFile(path, 'utf8')));
    } catch (thrown) {
      const why = thrown instanceof Error ? thrown.message : String(thrown);
      problems.push(`${path}: ${why}`);
    }
  }
  profiles.sort((a, b) => b.measuredAt.localeCompare(a.measuredAt));
  return { profiles, problems };
}

const versioned = z.looseObject({ schema: z.number() });

/** Throws `file_corrupt` that says what is wrong. */
export function parseProfile(text: string): MachineProfile {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw corrupt('it is not JSON', cause);
  }
  const version = versioned.safeParse(value);
  if (!version.success) throw corrupt('it names no schema');
  if (version.data.schema !== PROFILE_SCHEMA) {
    const age = version.data.schema < PROFILE_SCHEMA ? 'older' : 'newer';
    throw corrupt(`its schema ${version.data.schema} is ${age} than ${PROFILE_SCHEMA}`);
  }
  const parsed = machineProfileSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw corrupt(`${issue?.path.join('.') || 'the whole'}: ${issue?.message ?? 'not a profile'}`);
}

const corrupt = (why: string, cause?: unknown): PlenumError =>
  new PlenumError('file_corrupt', `the profile is of no use, ${why}`, {
    cause,
  });

export interface ProfileWish {
  readonly home: string;
  /** Asked only when there is a profile to hold against it. */
  readonly here: () => Promise<MachineIdentity>;
  readonly engine: string;
  /** Of the engine that is planned for; any, when they are left out. */
  readonly threads?: number;
  readonly compute?: MachineProfile['compute'];
  /**
   * How it keeps its cache; any, when left out. A profile of the other attention will do: a
   * host corrects it as it runs, from nearer than a guess would be.
   */
  readonly kernels?: Pick<MachineProfile['kernels'], 'layout'>;
}

/** The newest profile that holds for this machine and engine, or why there is none. */
export type ProfileFound =
  | { readonly kind: 'found'; readonly profile: MachineProfile }
  | {
      readonly kind: 'none';
      /** Nothing was ever measured, or what was is of no use here. */
      readonly hasAny: boolean;
      readonly why: string;
    };

export async function findProfile(wish: ProfileWish): Promise<ProfileFound> {
  const { profiles, problems } = await readProfiles(wish.home);
  const reasons = [...problems];
  const here = profiles.length === 0 ? null : await wish.here();
  for (const profile of profiles) {
    const why = here === null ? null : whyNot(profile, wish, here);
    if (why === null) return { kind: 'found', profile };
    reasons.push(`the profile of ${profile.measuredAt.slice(0, 10)}: ${why}`);
  }
  const why = reasons.length === 0 ? 'this machine has not been measured' : reasons.join('; ');
  return { kind: 'none', hasAny: reasons.length > 0, why };
}

function whyNot(
  profile: MachineProfile,
  { engine, threads, compute, kernels }: ProfileWish,
  here: MachineIdentity,
): string | null {
  const difference = differenceOf(profile.machine, here);
  if (difference !== null) return difference;
  if (profile.engine !== engine) return `it is of ${profile.engine}, and the engine is ${engine}`;
  if (compute !== undefined && profile.compute !== compute) {
    return `it is of the ${profile.compute.toUpperCase()}`;
  }
  if (threads !== undefined && profile.threads !== threads) {
    return `it is of ${threadsText(profile.threads)}, not of ${threads}`;
  }
  if (kernels === undefined || profile.kernels.layout === kernels.layout) return null;
  return `it is of ${layoutText(profile.kernels)}, and this engine has ${layoutText(kernels)}`;
}

const layoutText = ({ layout }: Pick<MachineProfile['kernels'], 'layout'>): string =>
  layout === 'split' ? 'a cache for each sequence' : 'one cache for all';

export const threadsText = (threads: number): string =>
  `${threads} thread${threads === 1 ? '' : 's'}`;

/** `plain attention over a cache for each sequence`. */
export function kernelsText(
  kernels: Pick<MachineProfile['kernels'], 'layout' | 'attention'>,
): string {
  return `${kernels.attention} attention over ${layoutText(kernels)}`;
}
