/** A minimal ZIP writer, so that tests have wheels of their own. For tests only. */
import { crc32, deflateRawSync } from 'node:zlib';

export interface ZipMember {
  readonly name: string;
  readonly content: Buffer;
  readonly method?: 0 | 8;
}

export function zip(members: readonly ZipMember[], comment = ''): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const { name, content, method = 8 } of members) {
    const data = method === 8 ? deflateRawSync(content) : content;
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    fields(local.subarray(8), { method, content, data, name });
    // Local headers may carry more than the directory says; readers have to look.
    const extra = Buffer.from([1, 0, 2, 0, 9, 9]);
    local.writeUInt16LE(extra.length, 28);
    const entry = Buffer.alloc(46);
    entry.writeUInt32LE(0x02014b50, 0);
    fields(entry.subarray(10), { method, content, data, name });
    entry.writeUInt32LE(offset, 42);
    directory.push(entry, Buffer.from(name));
    parts.push(local, Buffer.from(name), extra, data);
    offset += 30 + Buffer.byteLength(name) + extra.length + data.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(members.length, 8);
  end.writeUInt16LE(members.length, 10);
  end.writeUInt32LE(size, 12);
  end.writeUInt32LE(offset, 16);
  end.writeUInt16LE(Buffer.byteLength(comment), 20);
  return Buffer.concat([...parts, ...directory, end, Buffer.from(comment)]);
}

/** From "compression method" to "file name length", which both headers have alike. */
function fields(
  at: Buffer,
  member: { method: number; content: Buffer; data: Buffer; name: string },
): void {
  at.writeUInt16LE(member.method, 0);
  at.writeUInt32LE(crc32(member.content), 6);
  at.writeUInt32LE(member.data.length, 10);
  at.writeUInt32LE(member.content.length, 14);
  at.writeUInt16LE(Buffer.byteLength(member.name), 18);
}
