// The bones of a chart: scales, ticks and a frame. Charts are drawn at the width of their place, so that text keeps its size.

import { svg } from "./dom.js";

/** Round numbers between `low` and `high`, about `count` of them. */
export function ticks(low, high, count = 5) {
  if (!(high > low)) return [low];
  const rough = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999) ?? rough;
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) found.push(Number((i * step).toPrecision(12)));
  return found;
}

/** A straight map from `[from, to]` to `[a, b]`. */
export function linear([from, to], [a, b]) {
  const slope = to > from ? (b - a) / (to - from) : 0;
  return (x) => (slope === 0 ? (a + b) / 2 : a + (x - from) * slope);
}

/** The range of values with some air; null where none is finite. */
export function extent(values, air = 0.08) {
  const finite = values.filter((x) => Number.isFinite(x));
  if (!finite.length) return null;
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  const margin = high > low ? (high - low) * air : Math.abs(high) * 0.1 || 1;
  return [low - margin, high + margin];
}

/** The words of a tick: as many digits as tell neighbours apart. */
export function tickWords(x, all) {
  const step = all.length > 1 ? Math.abs(all[1] - all[0]) : Math.abs(x) || 1;
  const digits = Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9)));
  const fits = Math.abs(step * 10 ** digits - Math.round(step * 10 ** digits)) > 1e-6 ? digits + 1 : digits;
  return x.toFixed(fits).replace("-", "−");
}

/**
 * Axes with ticks and names around `box` (`left`, `top`, `right`, `bottom` in pixels); `x` and `y` are
 * `{range, name, at: [ticks], words?: (tick) => text}`. Gives back the two maps.
 */
export function frame(into, box, x, y) {
  const [px, py] = [linear(x.range, [box.left, box.right]), linear(y.range, [box.bottom, box.top])];
  const say = (axis, t) => (axis.words ? axis.words(t) : tickWords(t, axis.at));
  const g = svg("g", { class: "axes", "aria-hidden": "true" });
  for (const t of y.at) {
    g.append(svg("line", { class: "grid", x1: box.left, x2: box.right, y1: py(t), y2: py(t) }));
    g.append(svg("text", { x: box.left - 6, y: py(t) + 4, "text-anchor": "end" }, say(y, t)));
  }
  for (const t of x.at) {
    g.append(svg("line", { class: "tick", x1: px(t), x2: px(t), y1: box.bottom, y2: box.bottom + 4 }));
    g.append(svg("text", { x: px(t), y: box.bottom + 17, "text-anchor": "middle" }, say(x, t)));
  }
  g.append(svg("path", { class: "axis", d: `M${box.left} ${box.top}V${box.bottom}H${box.right}` }));
  g.append(svg("text", { class: "axis-name", x: (box.left + box.right) / 2, y: box.bottom + 34, "text-anchor": "middle" }, x.name));
  const turned = `translate(${13} ${(box.top + box.bottom) / 2}) rotate(-90)`;
  g.append(svg("text", { class: "axis-name", transform: turned, "text-anchor": "middle" }, y.name));
  into.append(g);
  return { px, py };
}

const pen = document.createElement("canvas").getContext("2d");

/** How wide a label will be, in pixels. */
export function textWidth(words, style = "") {
  pen.font = `${style} 12px ${getComputedStyle(document.documentElement).fontFamily}`;
  return pen.measureText(words).width + 3;
}

/** Draws now and whenever the width of the place changes: `draw(width)` is to fill the svg anew. */
export function drawn(host, draw) {
  let width = 0;
  const again = () => {
    if (width > 0) draw(width);
  };
  new ResizeObserver(([entry]) => {
    const now = Math.floor(entry.contentRect.width);
    if (now === width || now === 0) return;
    width = now;
    again();
  }).observe(host);
  return again;
}

/** Sets the size of a drawing and empties it. */
export function blank(chart, width, height) {
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.setAttribute("height", height);
  chart.replaceChildren();
}
