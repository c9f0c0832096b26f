/** An option of a select. */
export interface Option {
  value: string;
  text: string;
  note?: string;
}

/** The options whose text contains every word of the query, in any case; those that begin with the query first. */
export function matchingOptions(options: readonly Option[], query: string): readonly Option[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return options;
  const matches = options.filter(({ text }) => {
    const name = text.toLowerCase();
    return words.every((word) => name.includes(word));
  });
  const beginning = query.trim().toLowerCase();
  const isBeginning = ({ text }: Option) => text.toLowerCase().startsWith(beginning);
  return [...matches.filter(isBeginning), ...matches.filter((option) => !isBeginning(option))];
}
