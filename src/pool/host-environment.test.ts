import { describe, expect, it } from 'vitest';
import { hostEnvironment } from './host-environment.ts';

describe('the environment of hosts', () => {
  it('has what was set, but no secrets, and one thread for asynchronous calls', () => {
    const env = { LANG: 'C', PLENUM_API_KEY: 'a', hf_token: 'b', DB_PASSWORD: 'c', My_Secret: 'd' };
    expect(hostEnvironment({ ...env, UV_THREADPOOL_SIZE: '8' })).toEqual({
      LANG: 'C',
      UV_THREADPOOL_SIZE: '1',
      GLIBC_TUNABLES: 'glibc.malloc.hugetlb=1',
    });
  });

  it('asks for large pages beside what else is set of the C library', () => {
    const of = (tunables: string) =>
      hostEnvironment({ GLIBC_TUNABLES: tunables })['GLIBC_TUNABLES'];
    expect(of('glibc.malloc.arena_max=2')).toBe('glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1');
    expect(of('')).toBe('glibc.malloc.hugetlb=1');
    expect(of('glibc.malloc.hugetlb=0')).toBe('glibc.malloc.hugetlb=0');
  });
});
