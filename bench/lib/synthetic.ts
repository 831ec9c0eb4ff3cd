/** Synthetic models opened for measuring, as `plenum measure` opens them. */
import type { MeasuredModel } from '../../src/cli/measure/machine.ts';
import type { MixEntry } from '../../src/cli/measure/mix.ts';
import { openModel } from '../../src/cli/measure/run.ts';
import { geometryOf, type ModelGeometry } from '../../src/model/geometry.ts';
import { inspectGguf } from '../../src/model/gguf.ts';
import { syntheticFolder } from '../../src/model/registry-list.ts';
import { plenumHome } from '../../src/model/store-home.ts';
import { ensureSynthetic } from '../../src/model/synth.ts';
import { progress } from './options.ts';

export interface Subject extends MeasuredModel {
  readonly geometry: ModelGeometry;
}

/** Called `name` where a spec is opened more than once. */
export async function openSynthetic(
  { spec, points }: MixEntry,
  { threads, name = spec }: { readonly threads: number; readonly name?: string },
): Promise<Subject> {
  const path = await ensureSynthetic(spec, syntheticFolder(plenumHome(process.env)));
  const geometry = geometryOf(await inspectGguf(path));
  const { signal } = new AbortController();
  const wanted = { name, path, geometry, points };
  return { ...(await openModel(wanted, { threads, signal, say: progress })), geometry };
}
