/**
 * What a host believes of its steps before the first one: the planner's own time for its model,
 * where the machine has a profile, otherwise the engine's guess. It measures nothing.
 */
import type { EngineFacts } from '../engine/port.ts';
import { geometryOf } from '../model/geometry.ts';
import { inspectGguf } from '../model/gguf.ts';
import { profileSteps } from '../planner/profile.ts';
import { plannedTerms } from '../planner/step-guess.ts';
import { OnlineStepTime } from '../planner/step-time.ts';
import type { HostSpec } from '../wire/host.ts';

/** Rejects with what a header has wrong, which the engine that loaded it would have told before. */
export async function firstStepTime(
  { engine, profile }: Pick<HostSpec, 'engine' | 'profile'>,
  { guess }: Pick<EngineFacts, 'guess'>,
): Promise<OnlineStepTime> {
  if (engine.kind !== 'llama' || profile === undefined) return new OnlineStepTime(guess);
  const geometry = geometryOf(await inspectGguf(engine.path));
  return new OnlineStepTime(plannedTerms(profileSteps(profile, geometry, engine.cacheType)));
}
