/** The thread on which long texts are tokenised, one after another. See tokenizer.ts. */
import { parentPort } from 'node:worker_threads';
import { assert } from '../../base/assert.ts';
import { openBinding } from './binding.ts';
import { type ThreadCall, type ThreadReply, tokenizeNow } from './tokenizer.ts';

const port = parentPort;
assert(port !== null, 'tokenizer-thread.ts is run as a thread');
const binding = openBinding();

port.on('message', ({ call, vocab, text, options }: ThreadCall) => {
  const answer = (reply: ThreadReply): void => port.postMessage(reply);
  try {
    answer({ call, tokens: tokenizeNow(binding, vocab, { text, options }) });
  } catch (thrown) {
    answer({ call, error: thrown instanceof Error ? thrown.message : String(thrown) });
  }
});
