/**
 * Says what a file looks like that should have been a GGUF and is not: most often another format
 * of the same model, or an error page that was saved under its name. It judges by the first bytes
 * and never fails.
 */

/** As many bytes as `describeForeign` looks at. */
export const FOREIGN_BYTES = 512;

/** `head`: the first bytes of a file. The answer completes "it looks like …". */
export function describeForeign(head: Uint8Array): string {
  if (head.length === 0) return 'an empty file';
  return byMagic(head) ?? safetensors(head) ?? byText(head) ?? unknown(head);
}

const MAGICS: readonly (readonly [magic: string, what: string])[] = [
  ['FUGG', 'a GGUF whose bytes are swapped'],
  ['lmgg', 'a GGML file of the time before GGUF; convert the original model again'],
  ['fmgg', 'a GGMF file of the time before GGUF; convert the original model again'],
  ['tjgg', 'a GGJT file of the time before GGUF; convert the original model again'],
  ['\x1f\x8b', 'a gzip archive; unpack it first'],
  ['\x28\xb5\x2f\xfd', 'a zstd archive; unpack it first'],
  ['\xfd7zXZ', 'an xz archive; unpack it first'],
  ['7z\xbc\xaf', 'a 7z archive; unpack it first'],
  ['BZh', 'a bzip2 archive; unpack it first'],
  ['\x89HDF', 'an HDF5 file (Keras); convert the model to GGUF'],
  ['\x93NUMPY', 'a NumPy array'],
  ['\x7fELF', 'a program for Linux'],
  ['\xcf\xfa\xed\xfe', 'a program for macOS'],
  ['MZ', 'a program for Windows'],
  ['%PDF', 'a PDF document'],
  ['\x80\x02', 'a pickled PyTorch checkpoint; convert the model to GGUF'],
  ['\x80\x04', 'a pickled PyTorch checkpoint; convert the model to GGUF'],
];

function byMagic(head: Uint8Array): string | null {
  const text = Buffer.from(head).toString('latin1');
  if (text.startsWith('PK\x03\x04')) {
    return /data\.pkl|archive\/|\/data\//.test(text)
      ? 'a PyTorch checkpoint (zip); convert the model to GGUF'
      : 'a zip archive; unpack it first';
  }
  return MAGICS.find(([magic]) => text.startsWith(magic))?.[1] ?? null;
}

/** A little-endian length, then that much JSON. */
function safetensors(head: Uint8Array): string | null {
  if (head.length < 9 || head[8] !== 0x7b) return null;
  const length = Buffer.from(head).readBigUInt64LE(0);
  if (length < 2n || length > 100_000_000n) return null;
  return 'a safetensors file; get the GGUF of the model, or convert it';
}

const QUOTED_CHARACTERS_MAX = 120;

function byText(head: Uint8Array): string | null {
  const text = Buffer.from(head)
    .toString('utf8')
    .replace(/^\ufeff/, '')
    .trimStart();
  if (/^<(!doctype html|html)/i.test(text)) {
    const title = /<title>([^<]*)<\/title>/i.exec(text)?.[1]?.trim();
    return `an HTML page, such as an error or a login page${title ? ` ("${title}")` : ''}`;
  }
  if (text.startsWith('version https://git-lfs')) {
    const size = /^size (\d+)/m.exec(text)?.[1];
    const promised = size === undefined ? '' : ` to a file of ${size} bytes`;
    return `a git-lfs pointer${promised}; run "git lfs pull" to get the file itself`;
  }
  if (text.startsWith('<?xml')) return `an XML document: ${quoted(text)}`;
  if (/^[{[]\s*["{[\]}]/.test(text)) return `JSON: ${quoted(text)}`;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: what makes a file binary
  if (text === '' || /[\x00-\x08\x0e-\x1f\ufffd]/.test(text)) return null;
  return `text: ${quoted(text)}`;
}

function quoted(text: string): string {
  const line = text.replace(/\s+/g, ' ').slice(0, QUOTED_CHARACTERS_MAX);
  return JSON.stringify(line);
}

function unknown(head: Uint8Array): string {
  if (head.every((byte) => byte === 0)) {
    return 'zeros: space that was reserved for a download and never filled';
  }
  const hex = Buffer.from(head.subarray(0, 8))
    .toString('hex')
    .replace(/..(?=.)/g, '$& ');
  return `no known format (its first bytes are ${hex})`;
}
