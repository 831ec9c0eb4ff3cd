/**
 * What a context holds, by kind of buffer: the one call of the library that is C++, and so the one
 * that is read from memory by a layout instead of by a header. It is only made in a process that
 * may die of it, and what it gives is checked against what the library says in its log.
 */
import koffi from 'koffi';
import type { Binding, Pointer } from './binding.ts';
import { view } from './memory.ts';

export interface BufferKind {
  /** `CPU`, `CPU_Mapped`, `CPU_REPACK`, `Metal`. */
  readonly name: string;
  readonly weightsBytes: number;
  readonly contextBytes: number;
  readonly computeBytes: number;
}

/** llama_memory_breakdown llama_get_memory_breakdown(const llama_context *), src/llama-ext.h. */
const SYMBOL = '_Z26llama_get_memory_breakdownPK13llama_context';
/**
 * std::map of libstdc++: a comparator, then the header node (colour, root, leftmost, rightmost) and
 * the count of nodes.
 */
const TREE = { root: 2, count: 5 } as const;
const TREE_WORDS = 6;
/** A node: colour, parent, left, right, then the pair: buffer type, weights, context, compute. */
const NODE = { left: 2, right: 3, type: 4, weights: 5, context: 6, compute: 7 } as const;
const NODE_BYTES = 64;
const KINDS_MAX = 64;

/** null where the layout is not known or the library does not have the call. */
export function readBreakdown(binding: Binding, context: Pointer): readonly BufferKind[] | null {
  if (process.platform !== 'linux') return null;
  const call = breakdownOf(binding);
  if (call === null) return null;
  const tree = call(context);
  const count = tree[TREE.count] ?? 0n;
  if (count < 1n || count > BigInt(KINDS_MAX)) return null;
  const nodes = nodesOf(tree[TREE.root] ?? 0n);
  if (nodes === null || nodes.length !== Number(count)) return null;
  const nameOf = koffi
    .load(binding.files.ggmlBase)
    .func('const char *ggml_backend_buft_name(void *)');
  const word = (node: BigUint64Array, index: number): number => Number(node[index] ?? 0n);
  return nodes.map((node) => ({
    name: String(nameOf(node[NODE.type])),
    weightsBytes: word(node, NODE.weights),
    contextBytes: word(node, NODE.context),
    computeBytes: word(node, NODE.compute),
  }));
}

type Words = readonly bigint[];

/** A value of six words is returned in memory, as a C++ object of that size is. */
function breakdownOf(binding: Binding): ((context: Pointer) => Words) | null {
  const names = Array.from({ length: TREE_WORDS }, (_, i) => `w${i}`);
  const fields = Object.fromEntries(names.map((name) => [name, 'uint64_t']));
  koffi.struct('llama_memory_breakdown', fields);
  try {
    const call = koffi.load(binding.files.llama).func(`llama_memory_breakdown ${SYMBOL}(void *)`);
    return (context) => {
      const tree = call(context) as Record<string, number | bigint>;
      return names.map((name) => BigInt(tree[name] ?? 0));
    };
  } catch (error) {
    // Another build of the library does not have it.
    if (error instanceof Error) return null;
    throw error;
  }
}

function nodesOf(root: bigint): BigUint64Array[] | null {
  const nodes: BigUint64Array[] = [];
  const open = [root];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    if (at === 0n) continue;
    if (nodes.length === KINDS_MAX) return null;
    const node = new BigUint64Array(view(at, NODE_BYTES));
    nodes.push(node);
    open.push(node[NODE.left] ?? 0n, node[NODE.right] ?? 0n);
  }
  return nodes;
}
