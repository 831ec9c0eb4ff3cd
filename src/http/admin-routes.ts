/**
 * GET /admin/pool, POST /admin/models/{id}/load, unload, pin, unpin: the pool for its operator.
 * They change what is in memory, so that where there are keys, only a key with `admin: true` may.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { PlenumError } from '../base/errors.ts';
import {
  adminRequestSchema,
  type PoolBody,
  type PoolModelBody,
  poolModelSchema,
  poolSchema,
} from '../wire/admin.ts';
import type { PoolModel, PoolView } from '../wire/pool.ts';
import type { PoolAdmin } from './backend.ts';
import { findModel } from './endpoint.ts';
import type { FrontDoor } from './front-door.ts';
import { BODY_ROUTE, errorResponses, jsonResponse, KEYED_ROUTE } from './openapi.ts';

type Deed = (pool: PoolAdmin, model: string, signal: AbortSignal) => Promise<PoolModel> | PoolModel;

interface Action {
  readonly summary: string;
  readonly errors: Parameters<typeof errorResponses>[0];
  readonly run: Deed;
}

const ACTIONS: Readonly<Record<'load' | 'unload' | 'pin' | 'unpin', Action>> = {
  load: {
    summary: 'Load a model and answer when it is there',
    errors: [
      'pool_full',
      'model_does_not_fit',
      'memory_pressure',
      'model_unavailable',
      'wait_expired',
      'draining',
    ],
    run: (pool, model, signal) => pool.load(model, signal),
  },
  unload: {
    summary: 'Unload an idle model and answer when the system has its memory back',
    errors: ['model_in_use'],
    run: (pool, model) => pool.unload(model),
  },
  pin: {
    summary: 'Keep a model in memory from now on, whoever needs the room',
    errors: [],
    run: (pool, model) => pool.pin(model, true),
  },
  unpin: {
    summary: 'Let a model leave when its room is needed',
    errors: [],
    run: (pool, model) => pool.pin(model, false),
  },
};

export function adminRoutes(app: FastifyInstance, door: FrontDoor): void {
  const { pool } = door.backend;
  if (pool === undefined) return;
  const routes = app.withTypeProvider<ZodTypeProvider>();
  routes.get(
    '/admin/pool',
    {
      config: { admin: true, probe: true },
      schema: {
        summary: 'The pool of memory: who holds what, reserved and measured',
        tags: ['admin'],
        response: { 200: jsonResponse('The pool.', poolSchema), ...errorResponses(KEYED_ROUTE) },
      },
    },
    () => poolBody(pool.view()),
  );
  for (const [name, action] of Object.entries(ACTIONS)) {
    routes.post(
      `/admin/models/:id/${name}`,
      {
        config: { admin: true },
        schema: {
          summary: action.summary,
          description: 'The body is an empty object. Slashes in the id are written as %2F.',
          tags: ['admin'],
          params: z.object({ id: z.string() }),
          body: adminRequestSchema,
          response: {
            200: jsonResponse('The model afterwards.', poolModelSchema),
            ...errorResponses([...BODY_ROUTE, 'model_not_found', ...action.errors]),
          },
        },
      },
      (request, reply) => act({ door, pool, run: action.run }, request.params.id, reply),
    );
  }
  plainIds(app, door, pool);
}

/** The same for ids whose slashes are not written as %2F; the document has the routes above. */
function plainIds(app: FastifyInstance, door: FrontDoor, pool: PoolAdmin): void {
  app.post(
    '/admin/models/*',
    { config: { admin: true }, schema: { hide: true, body: adminRequestSchema } },
    (request: FastifyRequest<{ Params: { '*': string } }>, reply) => {
      const [, id = '', name = ''] = /^(.+)\/([a-z]+)$/.exec(request.params['*']) ?? [];
      const action = Object.entries(ACTIONS).find(([known]) => known === name)?.[1];
      if (action !== undefined) return act({ door, pool, run: action.run }, id, reply);
      const known = Object.keys(ACTIONS).join(', ');
      throw new PlenumError('not_found', `After /admin/models/{id}/ comes one of: ${known}.`);
    },
  );
}

async function act(
  { door, pool, run }: { door: FrontDoor; pool: PoolAdmin; run: Deed },
  name: string,
  reply: FastifyReply,
): Promise<PoolModelBody> {
  const { id } = findModel(door.backend.models(), name);
  const aborter = new AbortController();
  const onClose = (): void => aborter.abort();
  reply.raw.once('close', onClose);
  try {
    return modelBody(await run(pool, id, aborter.signal));
  } finally {
    reply.raw.removeListener('close', onClose);
  }
}

function poolBody(view: PoolView): PoolBody {
  return {
    available_bytes: view.availableBytes,
    available_source: view.availableSource,
    reserved_bytes: view.reservedBytes,
    measured_bytes: view.measuredBytes,
    paused: view.pausedBy,
    floors: view.floors,
    models: view.models.map(modelBody),
  };
}

function modelBody(model: PoolModel): PoolModelBody {
  return {
    id: model.id,
    class: model.class,
    state: model.state,
    reason: model.reason,
    pinned: model.pinned,
    preload: model.preload,
    priority: model.priority,
    ttl_ms: model.ttlMs,
    needed_bytes: model.neededBytes,
    reserved_bytes: model.reservedBytes,
    measured_bytes: model.measuredBytes,
    mispredicted: model.mispredicted,
    items: model.items.map((item) => ({ ...item })),
    pid: model.pid,
    in_use: model.inUse,
    waiting: model.waiting,
    queued: model.queued,
    running: model.running,
    tokens_per_second: model.tokensPerSecond,
    idle_ms: model.idleMs,
    loads: model.loads,
    restarts: model.restarts,
  };
}
