/**
 * Reads comma-separated values with a header line: fields may be quoted, a quote within is
 * doubled. Pure. A row that is longer or shorter than the header is refused.
 */
import { PlenumError } from '../base/errors.ts';

export type CsvRow = Readonly<Record<string, string>>;

/** Rows by column name. Throws `file_corrupt` that names `what` and the line. */
export function parseCsv(text: string, what: string): readonly CsvRow[] {
  const [header, ...lines] = records(text);
  if (header === undefined) throw new PlenumError('file_corrupt', `${what} is empty`);
  return lines.map((fields, index) => {
    if (fields.length !== header.length) {
      const counts = `${fields.length} fields, the header has ${header.length}`;
      throw new PlenumError('file_corrupt', `${what}, record ${index + 2}: ${counts}`);
    }
    return Object.fromEntries(header.map((name, i) => [name, fields[i] ?? '']));
  });
}

function records(text: string): string[][] {
  const all: string[][] = [];
  let record: string[] = [];
  let field = '';
  let quoted = false;
  const endField = (): void => {
    record.push(field);
    field = '';
  };
  for (let i = 0; i < text.length; i++) {
    const char = text[i] ?? '';
    if (quoted) {
      if (char !== '"') field += char;
      else if (text[i + 1] === '"') {
        field += '"';
        i += 1;
      } else quoted = false;
    } else if (char === '"') quoted = true;
    else if (char === ',') endField();
    else if (char === '\n') {
      endField();
      all.push(record);
      record = [];
    } else if (char !== '\r') field += char;
  }
  if (field !== '' || record.length > 0) {
    endField();
    all.push(record);
  }
  return all;
}

/** The number in a column; null where it is empty. Throws `file_corrupt` on anything else. */
export function csvNumber(row: CsvRow, column: string, what: string): number | null {
  const text = row[column] ?? '';
  if (text === '') return null;
  const value = Number(text);
  if (!Number.isFinite(value)) {
    throw new PlenumError('file_corrupt', `${what}: ${column} is '${text}', which is no number`);
  }
  return value;
}
