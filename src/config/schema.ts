/**
 * The shape of `plenum.yaml`: every key, its unit, range and default. The published JSON schema is
 * made from it. It does not read files and does not merge layers (load.ts).
 */
import * as z from 'zod';
import { MODEL_CLASSES } from '../wire/pool.ts';
import { keepingSettings, poolSchema } from './schema-pool.ts';

const whole = (low: number, high: number, description: string) =>
  z.int().min(low).max(high).meta({ description });

/** A whole number in a range, or `auto`: chosen from the model and the machine. */
const wholeOrAuto = (low: number, high: number, description: string) =>
  z.union([z.int().min(low).max(high), z.literal('auto')]).meta({ description });

const fraction = (description: string) => z.number().min(0).max(1).meta({ description });

const text = (lengthMax: number, description: string) =>
  z.string().min(1).max(lengthMax).meta({ description });

const NAME = /^[A-Za-z0-9._-]{1,64}$/;

const guardSchema = z
  .strictObject({
    model: text(256, 'Id or alias of the served model that judges.'),
    input: z.boolean().default(true).meta({ description: 'Judge what is asked.' }),
    output: z.boolean().default(true).meta({ description: 'Judge what is answered.' }),
    action: z
      .enum(['block', 'annotate'])
      .default('block')
      .meta({
        description:
          'block: text is held until it is judged, and what is unsafe never leaves; ' +
          'annotate: nothing is held, the reply says what the guard thinks.',
      }),
    threshold: fraction('A score from here on counts as unsafe.').default(0.5),
    window_tokens: whole(
      1,
      4096,
      'Tokens between two judgements of a stream; about twice as many are held back.',
    ).default(32),
    timeout_ms: whole(
      10,
      600_000,
      'Longest judgement; past it the guard counts as unavailable.',
    ).default(15_000),
  })
  .meta({ description: 'A safety model in the path of requests.' });

const apiKeySchema = z
  .strictObject({
    name: z
      .string()
      .regex(NAME)
      .meta({ description: 'Shown in logs and metrics; never secret.', examples: ['team-a'] }),
    key: z
      .string()
      .min(8)
      .max(512)
      .regex(/^[\x21-\x7e]+$/)
      .meta({
        description: 'The key itself, printable ASCII. Prefer key_env or sha256: files get copied.',
        examples: ['sk-3f9a2c71d0'],
      })
      .optional(),
    key_env: z
      .string()
      .regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/)
      .meta({ description: 'Environment variable that holds the key.', examples: ['TEAM_A_KEY'] })
      .optional(),
    sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .meta({
        description: 'SHA-256 of the key in lower-case hexadecimal.',
        examples: ['e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
      })
      .optional(),
    admin: z
      .boolean()
      .default(false)
      .meta({ description: 'The key may load, unload and pin models, and see who holds what.' }),
    guard: z
      .union([z.literal('off'), guardSchema])
      .optional()
      .meta({
        description: 'In the place of the models’ own guards for requests with this key.',
      }),
  })
  .meta({ description: 'Exactly one of key, key_env and sha256.' });

const logSchema = z.strictObject({
  level: z
    .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])
    .default('info')
    .meta({ description: 'The least severe level that is written.' }),
  format: z
    .enum(['auto', 'json', 'pretty'])
    .default('auto')
    .meta({ description: 'auto: pretty on a terminal, JSON lines elsewhere.' }),
});

const MIB = 1 << 20;

const limitsSchema = z.strictObject({
  body_bytes_max: whole(1024, 1 << 30, 'Longest request body.').default(4 * MIB),
  header_bytes_max: whole(1024, MIB, 'Headers of a request in all.').default(16_384),
  json_depth_max: whole(4, 256, 'Nesting of a JSON body.').default(32),
  json_values_max: whole(
    64,
    16_777_216,
    'Values in a JSON body, the elements of token lists not counted.',
  ).default(65_536),
  connections_max: whole(1, 1_000_000, 'Open connections.').default(4096),
  concurrent_requests_max: whole(
    1,
    100_000,
    'Requests under way, of all models together; one more gets 429.',
  ).default(2048),
  stream_buffer_bytes_max: whole(
    4096,
    1 << 30,
    'What a slow reader may leave unread before its generation is cancelled.',
  ).default(256 * 1024),
  stalled_reader_ms: whole(
    100,
    3_600_000,
    'How long a reply may be stuck because its client does not read.',
  ).default(60_000),
  stream_keep_alive_ms: whole(
    100,
    3_600_000,
    'A stream that has nothing to send for this long, because its request waits or its prompt is ' +
      'long, sends a comment that clients skip.',
  ).default(10_000),
  request_header_timeout_ms: whole(100, 600_000, 'Time for a client to send its headers.').default(
    10_000,
  ),
  body_timeout_ms: whole(100, 3_600_000, 'Time for a client to send its whole request.').default(
    60_000,
  ),
  keep_alive_ms: whole(0, 3_600_000, 'How long an idle connection stays open.').default(72_000),
  deadline_ms_default: z
    .union([z.int().min(1).max(86_400_000), z.null()])
    .default(null)
    .meta({ description: 'Deadline of requests that set none; null = none.' }),
  messages_max: whole(1, 1_000_000, 'Messages of a chat request.').default(4096),
  content_parts_max: whole(1, 100_000, 'Content parts of a message.').default(256),
  prompts_max: whole(1, 10_000, 'Prompts of a completions request.').default(64),
  choices_max: whole(1, 10_000, 'Prompts × n of a request.').default(128),
  n_max: whole(1, 1024, 'Completions of one prompt.').default(16),
  stop_strings_max: whole(1, 10_000, 'Stop strings of a request.').default(16),
  stop_string_chars_max: whole(1, 65_536, 'Characters of a stop string.').default(256),
  logit_bias_max: whole(1, 1_000_000, 'Tokens with a bias in a request.').default(1024),
  inputs_max: whole(1, 100_000, 'Inputs of an embeddings or moderations request.').default(2048),
  input_chars_max: whole(1, 100_000_000, 'Characters of one input, query or document.').default(
    1_000_000,
  ),
  documents_max: whole(1, 100_000, 'Documents of a rerank request.').default(1024),
});

const serverSchema = z.strictObject({
  host: z
    .string()
    .regex(/^[A-Za-z0-9.:%_-]{1,253}$/)
    .default('127.0.0.1')
    .meta({ description: 'Address to listen on.', examples: ['127.0.0.1'] }),
  port: whole(0, 65_535, 'Port to listen on; 0 takes any free one.').default(8686),
  api_keys: z
    .array(apiKeySchema)
    .max(1000)
    .default([])
    .meta({ description: 'Who may call; empty = anybody who reaches the address.' }),
  cors_origins: z
    .array(
      z
        .string()
        .regex(/^(\*|https?:\/\/[^\s/]+)$/)
        .meta({ examples: ['https://app.example.org'] }),
    )
    .max(100)
    .default([])
    .meta({ description: 'Web pages that may call from a browser; "*" = all of them.' }),
  allowed_hosts: z.array(z.string().min(1).max(253)).max(100).default([]).meta({
    description: 'Other names that a Host header may carry on loopback without API keys.',
  }),
  force_bind_without_keys: z
    .boolean()
    .default(false)
    .meta({ description: 'Allow an address beyond loopback although there are no API keys.' }),
  limits: limitsSchema.prefault({}),
  log: logSchema.prefault({}),
});

const engineSchema = z.strictObject({
  threads: wholeOrAuto(1, 1024, 'Threads of the engine.').optional(),
  gpu_layers: wholeOrAuto(
    0,
    10_000,
    'Layers on the GPU; auto = all where there is one.',
  ).optional(),
});

const samplingSchema = z
  .strictObject({
    temperature: z.number().min(0).max(2).meta({ description: '0 is greedy.' }).optional(),
    top_p: fraction('Draw from the likeliest tokens of this share.').optional(),
    top_k: whole(0, 1_000_000, 'Draw from this many tokens; 0 = all.').optional(),
    min_p: fraction('Leave tokens out below this share of the likeliest.').optional(),
    repeat_penalty: z
      .number()
      .min(0.01)
      .max(10)
      .meta({ description: 'Makes repeating unlikelier; 1 = off.' })
      .optional(),
  })
  .meta({ description: 'Sampling of requests that do not say otherwise.' });

const embeddingSchema = z
  .strictObject({
    query_prefix: z
      .string()
      .max(4096)
      .meta({ examples: ['query: '] })
      .optional(),
    document_prefix: z
      .string()
      .max(4096)
      .meta({ examples: ['passage: '] })
      .optional(),
  })
  .meta({
    description:
      'Text before the inputs of /v1/embeddings with `input_type`; empty if the model needs none.',
  });

const moderationSchema = z
  .strictObject({
    threshold: fraction('A score from here on is flagged by /v1/moderations.').default(0.5),
    activation: z.enum(['auto', 'softmax', 'sigmoid']).default('auto').meta({
      description: 'How a classifier’s logits become scores; auto: softmax if a label is harmless.',
    }),
    safe_labels: z
      .array(z.string().min(1).max(256))
      .max(1024)
      .meta({ description: 'Labels of harmless text; recognised by name if not given.' })
      .optional(),
  })
  .meta({ description: 'How a safety model is read.' });

/** What may be said of one model, or of all of them under `defaults`. */
const modelSettings = {
  context: wholeOrAuto(
    16,
    16_777_216,
    'Longest sequence in tokens, prompt and output together.',
  ).optional(),
  parallel: whole(1, 256, 'Sequences that decode at the same time.').optional(),
  kv_cells: wholeOrAuto(
    16,
    268_435_456,
    'Tokens that the KV cache holds in all; context × parallel gives each its whole context.',
  ).optional(),
  cache_type: z
    .enum(['f16', 'q8_0'])
    .meta({ description: 'Number format of the KV cache.' })
    .optional(),
  kv_layout: z
    .enum(['auto', 'unified', 'split'])
    .meta({
      description:
        'unified: one KV cache in which prompts that begin alike share cells; split: one for each ' +
        'stream, between which prefixes are copied; auto: split on processors that have cells for ' +
        'every stream, unified otherwise.',
    })
    .optional(),
  flash_attention: z
    .enum(['auto', 'on', 'off'])
    .meta({
      description:
        'Attention in one kernel. auto: off where plain matrix products decode faster (a split ' +
        'f16 cache on a processor, contexts of more than 2,048 tokens), on otherwise.',
    })
    .optional(),
  step_target_ms: z
    .union([z.number().min(1).max(60_000), z.literal('auto')])
    .meta({
      description:
        'Time that one step may take while streams decode. Low: steady streams; ' +
        'high: long prompts start sooner.',
    })
    .optional(),
  step_tokens_max: whole(8, 65_536, 'Most tokens computed in one step.').optional(),
  queue_max: whole(0, 100_000, 'Requests that may wait; one more gets 429.').optional(),
  wait_ms_max: whole(1, 86_400_000, 'Longest wait in the queue.').optional(),
  prefix_cache: z
    .boolean()
    .meta({ description: 'Share the KV cells of prompts that begin alike.' })
    .optional(),
  engine: engineSchema.optional(),
  chat_template: text(
    4096,
    'Path of a Jinja file that replaces the model’s own template; relative to this file.',
  ).optional(),
  sampling: samplingSchema.optional(),
  guard: guardSchema.optional(),
  ...keepingSettings,
};

const modelSchema = z.strictObject({
  model: text(2048, 'What to serve: starter, org/repo:QUANT, a URL, a path, or synthetic:NAME.'),
  id: text(
    256,
    'Name that clients use. If not given, one made of the file’s name, and the reference as well.',
  ).optional(),
  aliases: z
    .array(z.string().min(1).max(256))
    .max(32)
    .meta({ description: 'Other names for the same model.' })
    .optional(),
  class: z
    .enum(MODEL_CLASSES)
    .meta({
      description:
        'What the model is for: it decides the endpoints. Read from the file if not given; ' +
        'a model that generates becomes a judge with guard.',
    })
    .optional(),
  embedding: embeddingSchema.optional(),
  moderation: moderationSchema.optional(),
  ...modelSettings,
});

export const configSchema = z.strictObject({
  server: serverSchema.prefault({}),
  models: z
    .array(modelSchema)
    .min(1)
    .max(64)
    .default([{ model: 'starter' }])
    .meta({ description: 'The served models; the first is the default one.' }),
  defaults: z
    .strictObject(modelSettings)
    .meta({ description: 'Settings of every model that does not say otherwise.' })
    .prefault({}),
  pool: poolSchema.meta({ description: 'The memory that models share.' }).prefault({}),
  home: text(
    4096,
    'Directory of downloaded models; the user’s data directory if not given.',
  ).optional(),
  drain_ms: whole(
    0,
    3_600_000,
    'Time that requests under way have to finish after SIGTERM.',
  ).default(30_000),
});

/** `plenum.yaml` after defaults and validation, in the words of the file. */
export type ConfigFile = z.output<typeof configSchema>;
export type ModelFile = ConfigFile['models'][number];

/** Values of a model's settings that neither it nor `defaults` gives. */
export const MODEL_DEFAULTS = {
  context: 'auto',
  parallel: 4,
  kv_cells: 'auto',
  cache_type: 'f16',
  kv_layout: 'auto',
  flash_attention: 'auto',
  step_target_ms: 'auto',
  step_tokens_max: 512,
  queue_max: 64,
  wait_ms_max: 60_000,
  prefix_cache: true,
  threads: 'auto',
  gpu_layers: 'auto',
} as const;

/** JSON schema (draft 7, which editors understand best) of `plenum.yaml`. */
export function configJsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(configSchema, { io: 'input', target: 'draft-7' });
  return { ...schema, title: 'plenum.yaml', description: 'Configuration of a Plenum server.' };
}
