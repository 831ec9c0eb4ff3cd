/**
 * Writes docs/errors.md from the one table of errors; the test beside it keeps the two equal.
 * Run: `node tools/errors-doc.ts`.
 */
import { writeFileSync } from 'node:fs';
import { ERROR_TABLE, type ErrorCode, type ErrorRow } from '../src/base/errors.ts';

export const ERRORS_DOC_URL = new URL('../docs/errors.md', import.meta.url);

const INTRO = `# Errors

<!-- Generated from src/base/errors.ts by tools/errors-doc.ts; do not edit by hand. -->

Every error that leaves the server over HTTP has one shape, whatever went wrong:

    {"error": {"message": "…", "type": "…", "param": "…" or null, "code": "…"}}

\`code\` is one of the table and stays the same from release to release; \`message\` is meant for a
person and may change. \`param\` names the field that is wrong, where one is. Replies with status
429 and 503 carry \`Retry-After\` in seconds, from the predicted wait where one is known.

A stream that fails before its first event is answered with the status of its code. After the first
event the status has been sent: the stream then ends with one event \`data: {"error": …}\` of the
same shape and without \`data: [DONE]\`, and the official clients raise it.

The same codes name outcomes in the log and in \`plenum_requests_total\`, and errors of the command
line. "Again" says whether the same request may succeed later, unchanged.
`;

export function errorsDoc(): string {
  const rows = Object.entries(ERROR_TABLE) as [ErrorCode, ErrorRow][];
  const byStatus = rows.toSorted(([, a], [, b]) => a.status - b.status);
  const lines = byStatus.map(
    ([code, row]) =>
      `| \`${code}\` | ${row.status} | \`${row.type}\` | ${row.retryable ? 'yes' : 'no'} ` +
      `| ${row.meaning} |`,
  );
  const head = ['| Code | Status | Type | Again | Meaning |', '|---|---|---|---|---|'];
  return `${INTRO}\n${[...head, ...lines].join('\n')}\n`;
}

if (import.meta.main) writeFileSync(ERRORS_DOC_URL, errorsDoc());
