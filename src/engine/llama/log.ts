/**
 * What the library says. It would print to stderr; here its lines go to a bounded ring, from which
 * errors quote the last warnings, and the sizes and the CPU variant that it only ever says in its
 * log are read. Nothing is printed.
 */
import { type Binding, LOG_LEVEL, registerLog } from './binding.ts';

const LINES_MAX = 50;
const LINE_CHARS_MAX = 500;
/** How many lines an error quotes. */
const QUOTED_MAX = 6;

export interface BufferBytes {
  weights: number;
  kv: number;
  compute: number;
}

export class NativeLog {
  readonly #lines: string[] = [];
  #continues = false;
  #bytes: BufferBytes = { weights: 0, kv: 0, compute: 0 };
  #cpuVariant: string | null = null;

  push(level: number, text: string): void {
    if (level === LOG_LEVEL.continued) {
      if (this.#continues) this.#append(text);
      return;
    }
    this.#continues = level === LOG_LEVEL.warn || level === LOG_LEVEL.error;
    if (this.#continues) this.#add(text);
    else if (level === LOG_LEVEL.info) this.#read(text);
  }

  /** Forgets lines and sizes: a new model is about to be loaded. */
  begin(): void {
    this.#lines.length = 0;
    this.#bytes = { weights: 0, kv: 0, compute: 0 };
  }

  /** Buffer sizes since `begin`, as the library printed them (MiB with two decimals). */
  get bytes(): Readonly<BufferBytes> {
    return this.#bytes;
  }

  /** `sapphirerapids`, `apple_m4` …: the CPU backend that ggml chose; null before it has. */
  get cpuVariant(): string | null {
    return this.#cpuVariant;
  }

  get lines(): readonly string[] {
    return this.#lines;
  }

  /** The last warnings and errors in one line, or `otherwise` if there were none. */
  quote(otherwise: string): string {
    const said = this.#lines.slice(-QUOTED_MAX).map((line) => line.trim());
    return said.length === 0 ? otherwise : said.join('; ');
  }

  #add(text: string): void {
    this.#lines.push(text.replace(/\n+$/, '').slice(0, LINE_CHARS_MAX));
    if (this.#lines.length > LINES_MAX) this.#lines.shift();
  }

  #append(text: string): void {
    const last = this.#lines.pop() ?? '';
    this.#add(last + text);
  }

  #read(text: string): void {
    const size = /(model|KV|RS|compute|output) buffer size = +([\d.]+) MiB/.exec(text);
    if (size !== null) {
      const owner =
        size[1] === 'model' ? 'weights' : /KV|RS/.test(size[1] ?? '') ? 'kv' : 'compute';
      this.#bytes[owner] += Math.round(Number(size[2]) * 2 ** 20);
    }
    const variant = /loaded CPU backend from .*libggml-cpu-?([^/]*)\.(?:so|dylib)/.exec(text);
    if (variant !== null) this.#cpuVariant = variant[1] || 'generic';
  }
}

/** Sends the library's log to `log`. */
export function installLog(binding: Binding, log: NativeLog): void {
  const listener = registerLog((level, text) => {
    try {
      log.push(level, text);
    } catch {
      // Nothing may be thrown through the library's frames; a line that cannot be kept is dropped.
    }
  });
  binding.logSet(listener, null);
}
