/**
 * Aho-Corasick over UTF-16 code units: which stop strings end at a place of the text, at a cost per
 * unit that does not depend on how many there are. Immutable once built; building is linear in the
 * total length of the strings and takes about 30 bytes per unit of it.
 *
 * The trie lies in typed arrays; its edges (node, unit) → node in one open-addressing table:
 *
 *   "he", "her"    0 ─h→ 1 ─e→ 2* ─r→ 3*      depth = index of the column, * = a string ends here
 *
 * It does not keep a position in a text: that is the matcher.
 */
import { assert } from '../base/assert.ts';
import { PlenumError } from '../base/errors.ts';

export type StateId = number;
export const ROOT: StateId = 0;

const EMPTY = -1;

export class StopAutomaton {
  readonly stops: readonly string[];
  readonly #edges: EdgeTable;
  /** Length of the text that a state stands for. */
  readonly #depth: Int32Array;
  /** The state of the longest proper suffix that is also a beginning of a stop string. */
  readonly #fail: Int32Array;
  /** The longest stop string that ends at a state, by index; -1 = none. */
  readonly #match: Int32Array;

  /** Throws `invalid_request` for an empty string and for one with a lone surrogate. */
  constructor(stops: readonly string[]) {
    stops.forEach(checkStop);
    this.stops = stops;
    const nodesMax = stops.reduce((sum, stop) => sum + stop.length, 1);
    const trie = buildTrie(stops, nodesMax);
    this.#edges = trie.edges;
    this.#depth = trie.depth;
    this.#match = trie.match;
    this.#fail = new Int32Array(trie.count);
    this.#link(trie);
  }

  depth(state: StateId): number {
    return at(this.#depth, state);
  }

  /** The longest stop string that ends here, by its index; -1 = none. */
  match(state: StateId): number {
    return at(this.#match, state);
  }

  /** The state after one more code unit. Amortised constant time over a text. */
  next(state: StateId, unit: number): StateId {
    let node = state;
    for (;;) {
      const child = this.#edges.get(node, unit);
      if (child !== EMPTY) return child;
      if (node === ROOT) return ROOT;
      node = at(this.#fail, node);
    }
  }

  /** Suffix links in order of depth, so that the shorter suffix is always linked before. */
  #link(trie: Trie): void {
    for (const node of nodesByDepth(trie)) {
      if (node === ROOT) continue;
      const parent = at(trie.parent, node);
      const fail = parent === ROOT ? ROOT : this.next(at(this.#fail, parent), at(trie.unit, node));
      this.#fail[node] = fail;
      if (at(this.#match, node) === EMPTY) this.#match[node] = at(this.#match, fail);
    }
  }
}

function checkStop(stop: string, index: number): void {
  const problem =
    stop === '' ? 'is empty' : stop.isWellFormed() ? null : 'has a lone UTF-16 surrogate';
  if (problem === null) return;
  const message = `stop[${index}] ${problem}; a stop string is at least one whole character.`;
  throw new PlenumError('invalid_request', message, { param: 'stop' });
}

interface Trie {
  readonly edges: EdgeTable;
  readonly count: number;
  readonly parent: Int32Array;
  readonly unit: Uint16Array;
  readonly depth: Int32Array;
  readonly match: Int32Array;
}

function buildTrie(stops: readonly string[], nodesMax: number): Trie {
  const edges = new EdgeTable(nodesMax);
  const parent = new Int32Array(nodesMax);
  const unit = new Uint16Array(nodesMax);
  const depth = new Int32Array(nodesMax);
  const match = new Int32Array(nodesMax).fill(EMPTY);
  let count = 1;
  stops.forEach((stop, index) => {
    let node = ROOT;
    for (let i = 0; i < stop.length; i++) {
      const code = stop.charCodeAt(i);
      let child = edges.get(node, code);
      if (child === EMPTY) {
        child = count++;
        edges.set(node, code, child);
        parent[child] = node;
        unit[child] = code;
        depth[child] = i + 1;
      }
      node = child;
    }
    if (match[node] === EMPTY) match[node] = index;
  });
  return { edges, count, parent, unit, depth, match };
}

/** Counting sort of the nodes by their depth. */
function nodesByDepth({ count, depth }: Trie): Int32Array {
  const depthMax = depth.reduce((max, value) => Math.max(max, value), 0);
  const starts = new Int32Array(depthMax + 2);
  for (let node = 0; node < count; node++) {
    const slot = at(depth, node) + 1;
    starts[slot] = at(starts, slot) + 1;
  }
  for (let d = 1; d < starts.length; d++) starts[d] = at(starts, d) + at(starts, d - 1);
  const order = new Int32Array(count);
  for (let node = 0; node < count; node++) {
    const d = at(depth, node);
    const place = at(starts, d);
    order[place] = node;
    starts[d] = place + 1;
  }
  return order;
}

/** (node, unit) → node with linear probing, never more than half full. */
class EdgeTable {
  readonly #mask: number;
  readonly #nodes: Int32Array;
  readonly #units: Uint16Array;
  readonly #children: Int32Array;

  constructor(entriesMax: number) {
    const size = 1 << (32 - Math.clz32(Math.max(2, entriesMax) * 2 - 1));
    this.#mask = size - 1;
    this.#nodes = new Int32Array(size).fill(EMPTY);
    this.#units = new Uint16Array(size);
    this.#children = new Int32Array(size);
  }

  get(node: number, unit: number): number {
    const slot = this.#slot(node, unit);
    return this.#nodes[slot] === EMPTY ? EMPTY : at(this.#children, slot);
  }

  set(node: number, unit: number, child: number): void {
    const slot = this.#slot(node, unit);
    this.#nodes[slot] = node;
    this.#units[slot] = unit;
    this.#children[slot] = child;
  }

  /** The entry's slot, or the free one where it would go. */
  #slot(node: number, unit: number): number {
    let hash = Math.imul(node, 0x9e3779b1) ^ Math.imul(unit, 0x85ebca6b);
    hash ^= hash >>> 15;
    let slot = hash & this.#mask;
    while (this.#nodes[slot] !== EMPTY) {
      if (this.#nodes[slot] === node && this.#units[slot] === unit) return slot;
      slot = (slot + 1) & this.#mask;
    }
    return slot;
  }
}

function at(array: Int32Array | Uint16Array, index: number): number {
  const value = array[index];
  assert(value !== undefined, 'a state belongs to its automaton');
  return value;
}
