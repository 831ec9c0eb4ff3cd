/** The environment of the processes that compute: what they need of ours, and how they allocate. */

/** Never handed to a host: it needs none of them, and a native crash may dump its environment. */
const SECRET_ENV = /KEY|TOKEN|SECRET|PASSWORD/i;
/**
 * Linux backs large allocations with pages of 2 MB where they ask for it (transparent huge pages,
 * `madvise`); with this glibc from 2.35 on asks, and other C libraries ignore it. In pages of 4 KB,
 * found wherever some are free, reading a copied weight or a cache waits for the page tables: the
 * same models took 9 and 18 % longer for two rows, 5 and 7 % for one, and each load of them another
 * time (360M and 130M in Q8_0, Intel Xeon, one thread; `node bench/pages.ts`).
 */
const HUGE_PAGES = 'glibc.malloc.hugetlb';

/**
 * `env` without secrets, with large pages, and with one thread for asynchronous calls: a host makes
 * one at a time. With several, each step is on another thread than the last, perhaps on another
 * core, which took 4 % of one stream's rate (135M, two cores).
 */
export function hostEnvironment(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  const kept = Object.entries(env).filter(([name]) => !SECRET_ENV.test(name));
  return {
    ...Object.fromEntries(kept),
    UV_THREADPOOL_SIZE: '1',
    GLIBC_TUNABLES: withHugePages(env['GLIBC_TUNABLES']),
  };
}

/** Whoever runs the server has the last word on their C library. */
function withHugePages(tunables: string | undefined): string {
  const own = tunables ?? '';
  if (own.includes(`${HUGE_PAGES}=`)) return own;
  return [...(own === '' ? [] : [own]), `${HUGE_PAGES}=1`].join(':');
}
