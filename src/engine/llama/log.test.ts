/** What is kept of the library's log, and that it is bounded. */
import { describe, expect, it } from 'vitest';
import { LOG_LEVEL } from './binding.ts';
import { NativeLog } from './log.ts';

describe('NativeLog', () => {
  it('keeps the last warnings and errors, bounded, with their continuations', () => {
    const log = new NativeLog();
    expect(log.quote('nothing was said')).toBe('nothing was said');
    log.push(LOG_LEVEL.info, 'not kept\n');
    log.push(LOG_LEVEL.continued, 'nor this\n');
    log.push(LOG_LEVEL.error, 'out of ');
    log.push(LOG_LEVEL.continued, 'memory\n');
    expect(log.quote('')).toBe('out of memory');
    for (let i = 0; i < 200; i++) log.push(LOG_LEVEL.warn, `line ${i} ${'x'.repeat(1000)}\n`);
    expect(log.lines).toHaveLength(50);
    expect(log.lines.every((line) => line.length <= 500)).toBe(true);
    expect(log.quote('')).toMatch(/^line 194 /);
  });

  it('adds up the buffers by owner and reads the CPU variant', () => {
    const log = new NativeLog();
    const info = (text: string): void => log.push(LOG_LEVEL.info, text);
    info('load_backend: loaded CPU backend from /opt/libggml-cpu-apple_m4.so\n');
    info('load_tensors:   CPU_Mapped model buffer size =    92.50 MiB\n');
    info('load_tensors:          AMX model buffer size =     1.50 MiB\n');
    info('llama_kv_cache:        CPU KV buffer size =   180.00 MiB\n');
    info('llama_context:        CPU  output buffer size =     1.00 MiB\n');
    info('sched_reserve:        CPU compute buffer size =     2.00 MiB\n');
    expect(log.cpuVariant).toBe('apple_m4');
    expect(log.bytes).toEqual({ weights: 94 * 2 ** 20, kv: 180 * 2 ** 20, compute: 3 * 2 ** 20 });
    log.begin();
    expect(log.bytes).toEqual({ weights: 0, kv: 0, compute: 0 });
  });
});
