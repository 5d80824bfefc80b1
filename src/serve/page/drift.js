// Where each reply lies on the chosen vector, turn by turn, against the band of the default assistant's own replies.

import { blank, drawn, extent, frame, ticks } from "./chart.js";
import { number, svg } from "./dom.js";

const HEIGHT = 250;

/**
 * What to say of the last turn: whether it has left the band, stays outside, or is back. `points` are `{turn, value}`, `band` is
 * `{low, high}`. An empty text where there is nothing to say.
 */
export function driftNote(points, band) {
  const valued = points.filter((p) => Number.isFinite(p.value));
  if (!band || !valued.length) return "";
  const [before, last] = [valued.at(-2), valued.at(-1)];
  const [was, is] = [before ? side(before.value, band) : "inside", side(last.value, band)];
  const numbers = `${number(last.value, 3)}, band ${number(band.low, 3)} to ${number(band.high, 3)}`;
  if (is === "inside") return `Turn ${last.turn} is ${was === "inside" ? "inside" : "back inside"} the default's band: ${numbers}.`;
  return `Turn ${last.turn} is ${was === is ? "still " : ""}${is} the default's band: ${numbers}.`;
}

/** On which side of the band a value lies: "below", "above" or "inside". */
export const side = (value, { low, high }) => (value < low ? "below" : value > high ? "above" : "inside");

/** A chart in `host` (a div around the svg `chart`); `update(points, band, name)` draws it, points being `{turn, value, who}`. */
export function driftChart(host, chart) {
  let [points, band, name] = [[], null, ""];
  const again = drawn(host, (width) => draw(chart, width, points, band, name));
  return {
    update(...now) {
      [points, band, name] = now;
      again();
    },
  };
}

function draw(chart, width, points, band, name) {
  blank(chart, width, HEIGHT);
  const valued = points.filter((p) => Number.isFinite(p.value));
  const known = extent([...valued.map((p) => p.value), ...(band ? [band.low, band.high, band.mean] : [])]);
  const range = known ?? [-1, 1];
  const box = { left: 48, right: width - 10, top: 14, bottom: HEIGHT - 42 };
  const turns = Math.max(5, points.length);
  const x = { range: [0.5, turns + 0.5], name: "turn", at: ticks(1, turns, 8).filter(Number.isInteger) };
  const y = { range, name, at: known ? ticks(...range, 5) : [] };
  const { px, py } = frame(chart, box, x, y);
  if (band) {
    chart.append(svg("rect", { class: "band", x: box.left, width: box.right - box.left, y: py(band.high), height: Math.max(0, py(band.low) - py(band.high)) }));
    chart.append(svg("line", { class: "band-mean", x1: box.left, x2: box.right, y1: py(band.mean), y2: py(band.mean) }));
    chart.append(svg("text", { class: "band-name", x: box.right - 4, y: py(band.high) + 13, "text-anchor": "end" }, "default assistant, 90 % of replies"));
  }
  if (valued.length > 1) chart.append(svg("path", { class: "line", d: valued.map((p, i) => `${i ? "L" : "M"}${px(p.turn)} ${py(p.value)}`).join("") }));
  for (const p of valued) {
    const outside = band && side(p.value, band) !== "inside";
    const tip = `${number(p.value)}\nturn ${p.turn}${p.who ? `, ${p.who}` : ""}\n${band ? `${side(p.value, band)} the default's band` : ""}`;
    const dot = { class: outside ? "turn-point outside" : "turn-point", cx: px(p.turn), cy: py(p.value), r: 5, tabindex: 0, role: "img" };
    chart.append(svg("circle", { ...dot, "aria-label": tip.replaceAll("\n", ", "), data: { tip, turn: p.turn } }));
  }
}
