/**
 * Native memory and calls that take it: allocation, views, texts that the library writes, and
 * asynchronous calls as promises. It declares nothing of the library's API; binding.ts does.
 */
import koffi from 'koffi';
import type { Binding, Pointer } from './binding.ts';

/** Native memory that does not move, for calls that run on other threads. */
export function allocate(bytes: number): Pointer {
  return koffi.alloc('uint8_t', Math.max(1, bytes)) as Pointer;
}

export function release(memory: Pointer): void {
  koffi.free(memory);
}

/** The bytes at `memory`, without a copy. Must not be used after the memory is freed. */
export function view(memory: Pointer, bytes: number): ArrayBuffer {
  return koffi.view(memory, bytes);
}

/** A copy of `count` int32 at `memory`. */
export function readInt32s(memory: Pointer, count: number): Int32Array {
  return count === 0 ? new Int32Array(0) : new Int32Array(view(memory, count * 4)).slice();
}

const META_BYTES = 1024;

/** A scalar of the model's metadata as text; null when the key is not there. */
export function readMeta(binding: Binding, model: Pointer, key: string): string | null {
  return readText((memory) => binding.modelMeta(model, key, memory, META_BYTES));
}

/** `llama 8B Q4_K - Medium`: the library's own short description. */
export function readDescription(binding: Binding, model: Pointer): string {
  return readText((memory) => binding.modelDescription(model, memory, META_BYTES)) ?? '';
}

/** `write` fills up to META_BYTES with a NUL-terminated text and returns its length, or -1. */
function readText(write: (memory: Pointer) => number): string | null {
  const memory = allocate(META_BYTES);
  try {
    const length = write(memory);
    return length < 0 ? null : koffi.decode.string(memory);
  } finally {
    release(memory);
  }
}

let running = 0;

/** Native calls on other threads that have not returned. */
export const runningCalls = (): number => running;

/** Counts a native call on another thread until it has returned. */
export function countCall<T>(call: Promise<T>): Promise<T> {
  running += 1;
  return call.finally(() => {
    running -= 1;
  });
}

/** Calls an asynchronous native function; the event loop stays free meanwhile. */
export function callAsync<A extends unknown[], R>(
  fn: { async: (...args: [...A, (error: unknown, result: R) => void]) => void },
  ...args: A
): Promise<R> {
  const call = new Promise<R>((resolve, reject) => {
    fn.async(...args, (error, result) => {
      if (error) reject(error instanceof Error ? error : new Error(String(error)));
      else resolve(result);
    });
  });
  return countCall(call);
}
