/**
 * Who owns which KV cells, as a radix tree over tokens. A node is a run of physical cells; a KV
 * sequence (`SeqId`) holds the path from the root to its end, so the cells of a common prefix exist
 * once, whoever shares them. Pure: it answers with the cache operations that make it true.
 *
 *   root ─ "You are helpful." ─┬─ "What is 2+2?" ─ … seq 3 (running)
 *          holders {3,7,9}     ├─ "Translate:"   ─ … seq 7 (retained: ended, its cells are cached)
 *                              └─ "Hello"            seq 9 (running)
 *
 * Two sequences that compute the same tokens side by side own a copy each: nodes of one parent may
 * begin alike (twins), and a match takes the one that leads farther.
 *
 * A node with a running holder is held; one whose holders have all ended is cached, and its leaves
 * are evicted in order of last use. It does not know of requests, time or the engine.
 */
import { assert, defined } from '../base/assert.ts';
import type { CacheOp, SeqId } from './plan.ts';

export interface PrefixNode {
  parent: PrefixNode | null;
  /** Position of the first token of the run. */
  start: number;
  tokens: Int32Array;
  /** By first token; more than one are twins. */
  readonly children: Map<number, PrefixNode[]>;
  readonly holders: Set<SeqId>;
  /** Running sequences among the holders. */
  running: number;
  /** Logical time of last use. */
  usedAt: number;
}

export interface PrefixMatch {
  readonly length: number;
  /** A sequence that holds all of it; null when the length is 0. */
  readonly source: SeqId | null;
  /** Cells of it that only ended sequences hold. */
  readonly cached: number;
}

/** Fewer cells than this are not worth a separate eviction. */
const EVICTION_CELLS_MIN = 64;

export const endOf = (node: PrefixNode): number => node.start + node.tokens.length;

export class PrefixIndex {
  readonly root: PrefixNode = newNode(null, 0, new Int32Array(0));
  readonly #retained = new Map<SeqId, PrefixNode>();
  readonly #released: SeqId[] = [];
  #clock = 0;
  #cells = 0;
  #cachedCells = 0;

  /** Cells that the tree accounts for, running or cached. */
  get cells(): number {
    return this.#cells;
  }

  /** Cells that eviction could free. */
  get cachedCells(): number {
    return this.#cachedCells;
  }

  /** Sequences that have ended and only hold cached cells. */
  get retainedCount(): number {
    return this.#retained.size;
  }

  /** Sequence ids that became free since the last call. */
  takeReleased(): SeqId[] {
    return this.#released.splice(0);
  }

  /** The longest prefix of `tokens`, at most `limit` long, whose cells exist. */
  match(tokens: Int32Array, limit: number): PrefixMatch {
    const { length, path } = longestPath(this.root, tokens, limit);
    const last = path.at(-1);
    if (last === undefined) return { length: 0, source: null, cached: 0 };
    const [source] = last.holders;
    // Below a node that only ended sequences hold, no other one is running.
    const cachedFrom = path.find((node) => node.running === 0)?.start ?? length;
    return { length, source: defined(source, 'holder of a node'), cached: length - cachedFrom };
  }

  /** `seq` becomes a running holder of the first `length` tokens. Returns the node they end in. */
  attach(seq: SeqId, tokens: Int32Array, length: number): PrefixNode {
    let node = this.root;
    this.#clock += 1;
    const found = longestPath(this.root, tokens, length);
    assert(found.length === length, `tree: ${length} tokens to attach, ${found.length} found`);
    for (const child of found.path) {
      node = endOf(child) > length ? this.#split(child, length - child.start) : child;
      node.holders.add(seq);
      this.#setRunning(node, node.running + 1);
      node.usedAt = this.#clock;
    }
    return node;
  }

  /**
   * The running `seq`, which ends in `end`, has computed its own cells up to `to`: they join the
   * tree, so that others may share them. Returns its new end. When others have published all of
   * them meanwhile, nothing changes: the cells stay private to `seq`.
   */
  publish(seq: SeqId, end: PrefixNode, tokens: Int32Array, to: number): PrefixNode {
    const from = endOf(end);
    if (to <= from) return end;
    const own = end !== this.root && end.holders.size === 1 && end.children.size === 0;
    if (own) {
      end.tokens = tokens.slice(end.start, to);
      this.#cells += to - from;
      return end;
    }
    if (longestPath(end, tokens, to).length === to) return end;
    const node = newNode(end, from, tokens.slice(from, to));
    node.holders.add(seq);
    node.running = 1;
    node.usedAt = this.#clock;
    const alike = end.children.get(firstOf(node));
    if (alike === undefined) end.children.set(firstOf(node), [node]);
    else alike.push(node);
    this.#cells += to - from;
    return node;
  }

  /**
   * `seq` runs no longer. Its path stays as cache when it holds cells that nobody else holds;
   * otherwise its id is released at once. Private cells are the caller's to truncate before.
   */
  retire(seq: SeqId, end: PrefixNode): CacheOp[] {
    this.#clock += 1;
    for (let node = end; node.parent !== null; node = node.parent) {
      this.#setRunning(node, node.running - 1);
      node.usedAt = this.#clock;
    }
    if (end !== this.root && end.holders.size === 1) {
      this.#retained.set(seq, end);
      return [];
    }
    return [this.#release(seq, end)];
  }

  /** Frees at least `need` cached cells, least recently used first, or as many as there are. */
  evictCells(need: number): CacheOp[] {
    const ops: CacheOp[] = [];
    let freed = 0;
    while (freed < need) {
      const leaf = this.#oldestLeaf();
      if (leaf === null) break;
      const cut = Math.min(leaf.tokens.length, Math.max(need - freed, EVICTION_CELLS_MIN));
      freed += cut;
      if (cut < leaf.tokens.length) this.#shorten(leaf, cut, ops);
      else this.#dropLeaf(leaf, ops);
    }
    return ops;
  }

  /** Releases one retained sequence id, preferring one whose cells all have another holder. */
  evictSeq(): CacheOp[] {
    let best: SeqId | null = null;
    let bestUse = Number.POSITIVE_INFINITY;
    for (const [seq, end] of this.#retained) {
      const use = end.holders.size > 1 ? -1 : end.usedAt;
      if (use < bestUse) {
        best = seq;
        bestUse = use;
      }
    }
    if (best === null) return [];
    const end = defined(this.#retained.get(best), 'end of a retained sequence');
    this.#retained.delete(best);
    return [this.#release(best, end)];
  }

  /** Recounts everything; throws AssertionError when the tree contradicts itself. */
  check(): void {
    let cells = 0;
    let cached = 0;
    const visit = (node: PrefixNode): void => {
      for (const child of [...node.children.values()].flat()) {
        const known = node.children.get(firstOf(child))?.includes(child) ?? false;
        assert(child.parent === node && known, 'tree: parent and key');
        assert(child.start === endOf(node) && child.tokens.length > 0, 'tree: adjacent, not empty');
        assert(child.holders.size > 0, 'tree: a node without a holder');
        assert(child.running >= 0 && child.running <= child.holders.size, 'tree: running count');
        for (const seq of child.holders) {
          assert(
            node === this.root || node.holders.has(seq),
            'tree: holder of child, not of parent',
          );
        }
        cells += child.tokens.length;
        if (child.running === 0) cached += child.tokens.length;
        visit(child);
      }
    };
    visit(this.root);
    assert(cells === this.#cells, `tree: ${this.#cells} cells counted, ${cells} found`);
    assert(cached === this.#cachedCells, `tree: ${this.#cachedCells} cached, ${cached} found`);
    for (const [seq, end] of this.#retained) {
      assert(end.holders.has(seq), 'tree: retained sequence does not hold its end');
    }
  }

  #release(seq: SeqId, end: PrefixNode): CacheOp {
    for (let node = end; node.parent !== null; node = node.parent) {
      node.holders.delete(seq);
      if (node.holders.size === 0) this.#remove(node);
    }
    this.#released.push(seq);
    return { op: 'truncate', seq, keep: 0 };
  }

  #remove(node: PrefixNode): void {
    assert(node.children.size === 0 && node.running === 0, 'tree: removing a node in use');
    const { children } = defined(node.parent, 'parent');
    const others = children.get(firstOf(node))?.filter((twin) => twin !== node) ?? [];
    if (others.length > 0) children.set(firstOf(node), others);
    else children.delete(firstOf(node));
    this.#cells -= node.tokens.length;
    this.#cachedCells -= node.tokens.length;
  }

  #shorten(leaf: PrefixNode, cut: number, ops: CacheOp[]): void {
    leaf.tokens = leaf.tokens.slice(0, leaf.tokens.length - cut);
    this.#cells -= cut;
    this.#cachedCells -= cut;
    for (const seq of leaf.holders) ops.push({ op: 'truncate', seq, keep: endOf(leaf) });
  }

  /** Every holder of a cached leaf is retained and ends in it: each falls back to the parent. */
  #dropLeaf(leaf: PrefixNode, ops: CacheOp[]): void {
    const parent = defined(leaf.parent, 'parent of a leaf');
    for (const seq of [...leaf.holders]) {
      if (parent === this.root || parent.holders.size > 1) {
        this.#retained.delete(seq);
        ops.push(this.#release(seq, leaf));
        continue;
      }
      leaf.holders.delete(seq);
      this.#retained.set(seq, parent);
      ops.push({ op: 'truncate', seq, keep: endOf(parent) });
      this.#remove(leaf);
    }
  }

  #oldestLeaf(): PrefixNode | null {
    let best: PrefixNode | null = null;
    for (const end of this.#retained.values()) {
      if (end.children.size > 0 || end.running > 0) continue;
      if (best === null || end.usedAt < best.usedAt) best = end;
    }
    return best;
  }

  /** `node` keeps its identity as the lower part; the upper `at` tokens become its new parent. */
  #split(node: PrefixNode, at: number): PrefixNode {
    const parent = defined(node.parent, 'parent of a split node');
    const upper = newNode(parent, node.start, node.tokens.slice(0, at));
    for (const seq of node.holders) upper.holders.add(seq);
    upper.running = node.running;
    upper.usedAt = node.usedAt;
    const alike = parent.children.get(firstOf(node)) ?? [];
    alike[alike.indexOf(node)] = upper;
    node.parent = upper;
    node.start += at;
    node.tokens = node.tokens.slice(at);
    upper.children.set(firstOf(node), [node]);
    return upper;
  }

  #setRunning(node: PrefixNode, running: number): void {
    if (node.running === 0 && running > 0) this.#cachedCells -= node.tokens.length;
    if (node.running > 0 && running === 0) this.#cachedCells += node.tokens.length;
    node.running = running;
  }
}

function newNode(parent: PrefixNode | null, start: number, tokens: Int32Array): PrefixNode {
  return { parent, start, tokens, children: new Map(), holders: new Set(), running: 0, usedAt: 0 };
}

const firstOf = (node: PrefixNode): number => node.tokens[0] ?? -1;

/** From `node` down: how far tokens up to `limit` are there, and the nodes that they lie in. */
function longestPath(
  node: PrefixNode,
  tokens: Int32Array,
  limit: number,
): { readonly length: number; readonly path: readonly PrefixNode[] } {
  const from = endOf(node);
  let best: ReturnType<typeof longestPath> = { length: from, path: [] };
  if (from >= limit) return best;
  for (const child of node.children.get(tokens[from] ?? -1) ?? []) {
    const common = commonLength(child.tokens, tokens, from, limit);
    const whole = common === child.tokens.length;
    const below = whole ? longestPath(child, tokens, limit) : { length: from + common, path: [] };
    if (below.length > best.length) best = { length: below.length, path: [child, ...below.path] };
  }
  return best;
}

function commonLength(run: Int32Array, tokens: Int32Array, from: number, limit: number): number {
  const most = Math.min(run.length, limit - from);
  let i = 0;
  while (i < most && run[i] === tokens[from + i]) i += 1;
  return i;
}
