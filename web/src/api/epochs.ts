/** Epochs in the API's notation: `0:98:2` if they are evenly spaced, else a list. */
export function formatEpochs(epochs: number[]): string {
  if (epochs.length < 3) return epochs.join(",");
  const step = epochs[1]! - epochs[0]!;
  const isEven = epochs.every((epoch, i) => i === 0 || epoch - epochs[i - 1]! === step);
  return isEven ? `${epochs[0]}:${epochs.at(-1)}:${step}` : epochs.join(",");
}
