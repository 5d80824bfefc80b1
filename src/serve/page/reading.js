// From the server's arrays to what tokens are coloured by: by message, rows of tokens with one value per site.

/** The tokens of one message's content in the server's list of prompt tokens. */
export const within = (tokens, message) => tokens.map((t, i) => [t, i]).filter(([t]) => t.span === "content" && t.message === message);

/**
 * A reading of message `message` out of `z` (`[site][token]`) over `tokens`: `{sites, rows, texts}`; null where the message has no tokens.
 */
export function readingOf(tokens, z, sites, message) {
  const found = within(tokens, message);
  if (!found.length) return null;
  return { sites, texts: found.map(([t]) => t.text), rows: found.map(([, i]) => sites.map((_, s) => z[s]?.[i] ?? null)) };
}

/** Means over the rows, one per site: for a reply that was stopped before the server could say. */
export function means(rows, sites) {
  return sites.map((_, s) => {
    const values = rows.map((row) => row?.[s]).filter((x) => Number.isFinite(x));
    return values.length ? values.reduce((a, b) => a + b, 0) / values.length : null;
  });
}
