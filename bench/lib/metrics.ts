/** Reads a page of Prometheus' text format: sums of a metric over the series that match. */

export class MetricsPage {
  readonly #lines: readonly string[];

  constructor(text: string) {
    this.#lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  }

  static async read(baseUrl: string): Promise<MetricsPage> {
    const response = await fetch(new URL('/metrics', baseUrl));
    if (!response.ok) throw new Error(`/metrics: HTTP ${response.status}`);
    return new MetricsPage(await response.text());
  }

  /** Throws when there is no such series: a renamed metric must not read as zero. */
  sum(name: string, labels: Readonly<Record<string, string>> = {}): number {
    const wanted = Object.entries(labels).map(([key, value]) => `${key}="${value}"`);
    const matching = this.#lines.filter((line) => {
      const found = /^[\w:]+/.exec(line)?.[0];
      return found === name && wanted.every((label) => line.includes(label));
    });
    if (matching.length === 0) throw new Error(`no metric ${name} ${wanted.join(' ')}`);
    return matching.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  }
}
