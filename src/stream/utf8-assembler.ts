/**
 * Bytes of tokens to whole characters. A character may be spread over several tokens: its bytes
 * are held until it is complete. Invalid bytes become U+FFFD exactly as the WHATWG Encoding
 * Standard's UTF-8 decoder has it. It does not know of tokens, only of bytes; a leading U+FEFF is
 * text, not a byte order mark.
 */

/** Bytes below are characters of their own in UTF-8. */
const ASCII_END = 0x80;

export class Utf8Assembler {
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  /** False only when the decoder certainly holds nothing. */
  #mayHold = false;

  /** The characters that `bytes` completes; the bytes are not kept. */
  push(bytes: Uint8Array): string {
    if (bytes.length === 0) return '';
    if (!this.#mayHold) {
      const ascii = asciiText(bytes);
      if (ascii !== null) return ascii;
    }
    this.#mayHold = (bytes[bytes.length - 1] ?? 0) >= ASCII_END;
    return this.#decoder.decode(bytes, { stream: true });
  }

  /** The end of the stream: an incomplete character becomes U+FFFD. Usable again afterwards. */
  finish(): string {
    if (!this.#mayHold) return '';
    this.#mayHold = false;
    return this.#decoder.decode();
  }
}

/** Null when there is another byte than ASCII. Most tokens are a few letters: no decoder needed. */
function asciiText(bytes: Uint8Array): string | null {
  if (bytes.length > 32) return null;
  let text = '';
  for (const byte of bytes) {
    if (byte >= ASCII_END) return null;
    text += String.fromCharCode(byte);
  }
  return text;
}
