/** Searching the catalogue: which entries have all words, and where their figures come from. */
import type { CatalogueSource } from '../../model/catalogue-types.ts';
import type { CliOutput } from '../context.ts';
import { paragraph } from './columns.ts';

/** True when every word of the query is in one of the texts; always without a query. */
export function hasWords(query: string | undefined, texts: readonly string[]): boolean {
  const all = texts.join(' ').toLowerCase();
  const words = (query ?? '').toLowerCase().split(/\s+/);
  return words.every((word) => all.includes(word));
}

/** Numbers sources in the order in which a table names them. */
export class SourceNotes {
  readonly #ids: string[] = [];

  /** `1 4`: the numbers of these sources. */
  numbersOf(ids: readonly string[]): string {
    const numbers = [...new Set(ids)].map((id) => {
      if (!this.#ids.includes(id)) this.#ids.push(id);
      return this.#ids.indexOf(id) + 1;
    });
    return numbers.sort((a, b) => a - b).join(' ');
  }

  /** The sources that were named, a paragraph each. */
  legend(sources: readonly CatalogueSource[], output: CliOutput): string {
    const texts = this.#ids.map((id, index) => {
      const source = sources.find((one) => one.id === id);
      const where = source === undefined ? id : `${id}: ${source.where} (${source.asOf})`;
      return paragraph(`${index + 1} ${where}`, output, { hang: 4 });
    });
    return `\nSources\n${texts.join('')}`;
  }
}
