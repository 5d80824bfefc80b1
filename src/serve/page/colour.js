// From a projection to a tint. The scale is centred on the median of the default assistant's tokens and as wide to either side, so
// that equal distances look equal; it ends where 1 % of the default's tokens lie beyond on the further side.

/** At most this much of the pole's colour, so that text on it keeps its contrast in both themes. */
export const FULL = 0.62;

/** The scale of `quantiles` (0 to 100 %): centre and half width. */
export function scale(quantiles) {
  const [low, centre, high] = [quantiles[1], quantiles[50], quantiles[99]];
  const half = Math.max(high - centre, centre - low);
  return { centre, half: half > 0 ? half : 1, low, high };
}

/** Where a value lies on the scale, from −1 to 1. */
export const position = ({ centre, half }, z) => Math.max(-1, Math.min(1, (z - centre) / half));

/** The share of the default's tokens below `z`, in percent, straight between the quantiles; 0 and 100 beyond the ends. */
export function percentile(quantiles, z) {
  const last = quantiles.length - 1;
  if (!(z >= quantiles[0])) return 0;
  if (z >= quantiles[last]) return 100;
  let [a, b] = [0, last];
  while (b - a > 1) {
    const mid = (a + b) >> 1;
    if (quantiles[mid] <= z) a = mid;
    else b = mid;
  }
  const width = quantiles[b] - quantiles[a];
  return ((a + (width > 0 ? (z - quantiles[a]) / width : 0)) * 100) / last;
}

/** Tints an element by a position on the scale; null takes the tint away. */
export function tint(element, at) {
  element.classList.toggle("up", at !== null && at >= 0);
  element.classList.toggle("down", at !== null && at < 0);
  if (at === null) element.style.removeProperty("--a");
  else element.style.setProperty("--a", `${(Math.abs(at) * FULL * 100).toFixed(1)}%`);
}

/** Which of a percent, for reading: "41st". */
export function ordinal(percent) {
  const n = Math.round(percent);
  const tail = n % 100 >= 11 && n % 100 <= 13 ? "th" : (["th", "st", "nd", "rd"][n % 10] ?? "th");
  return `${n}${tail}`;
}
