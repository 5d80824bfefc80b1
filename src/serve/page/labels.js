// Where labels go so that none lies on another, on a point, or outside.

/**
 * Greedy: `points` are `{x, y, width, height, r}` in the order of their importance; a label goes to the first of eight places around
 * its point that is free of the labels before it, of all `points` and of `taken` boxes; one that `must` be named may cover points. Gives
 * `{x, y}` (where the text begins, on its base line) or null for each, at most `most` of them.
 */
export function place(points, { left, top, right, bottom }, most, taken = []) {
  const boxes = [...taken];
  const dots = points.map((p) => ({ x: p.x - p.r, y: p.y - p.r, w: 2 * p.r, h: 2 * p.r }));
  let placed = 0;
  return points.map((p) => {
    if (placed >= most) return null;
    const inside = around(p).filter((s) => s.x >= left && s.y >= top && s.x + s.w <= right && s.y + s.h <= bottom);
    const unnamed = inside.filter((s) => !boxes.some((b) => overlap(b, s)));
    const spot = unnamed.find((s) => !dots.some((b) => overlap(b, s))) ?? (p.must ? unnamed[0] : undefined);
    if (!spot) return null;
    boxes.push(spot);
    placed += 1;
    return { x: spot.x, y: spot.y + spot.h * 0.78 };
  });
}

function around({ x, y, width: w, height: h, r }) {
  const gap = r + 3;
  const [right, left, middle] = [x + gap, x - gap - w, x - w / 2];
  const [above, below, level] = [y - gap - h, y + gap, y - h / 2];
  return [[right, level], [left, level], [middle, above], [middle, below], [right, above], [right, below], [left, above], [left, below]].map(([a, b]) => ({ x: a, y: b, w, h }));
}

const overlap = (a, b) => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
