/** One thread of bandwidth.ts: fills a buffer, so that it has pages, then reads it when asked. */
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../../base/assert.ts';

const FILLING = 1;
const ABSENT = 2;

const { bytes } = workerData as { readonly bytes: number };
const buffer = Buffer.alloc(bytes, FILLING);

parentPort?.on('message', () => {
  assert(buffer.indexOf(ABSENT) === -1, 'a byte that was never written was found');
  parentPort?.postMessage('read');
});
parentPort?.postMessage('filled');
