// K, S, E and L of the last comparison: the rows of a model, and how they are shown.

import { el, number } from "./dom.js";

/** What each index says. */
export const INDICES = {
  K: "knows: what it knows of its character in third person",
  S: "says: what it claims of itself",
  E: "shows: what its replies show",
  L: "carries: what the stream carries along directions fitted on the base",
};

const interval = (index, digits) => (Number.isFinite(index.low) && Number.isFinite(index.high) ? `${number(index.low, digits)} to ${number(index.high, digits)}` : "no interval");

/** The formats that the rows know, in the order in which they come. */
export const formats = (rows) => [...new Set(rows.map((r) => r.format).filter(Boolean))];

/** The rows of a fine-tune, or the pooled ones of a chosen format. */
export function marksOf(rows, model, format) {
  const own = rows.filter((r) => r.model === model);
  if (own.length || !format) return own;
  return rows.filter((r) => r.model === "*" && r.format === format);
}

/** One row as four small bars on the scale from base (0) to card (1), with intervals. */
export function chips(row) {
  const words = [row.model === "*" ? `pooled, ${row.format}` : null, row.character === "*" ? null : row.character, row.trait, row.class].filter(Boolean).join(" · ");
  return el("div", { class: "mark-row" }, el("span", { class: "quiet" }, words), el("div", { class: "chips" }, ...Object.entries(INDICES).map(([k, meaning]) => chip(k, row.indices[k], meaning))));
}

function chip(name, index, meaning) {
  const value = index?.value ?? null;
  const tip = value === null ? `${name}: no index\n${meaning}` : `${name} ${number(value, 3)}\n${meaning}\n95 %: ${interval(index, 3)}\nbase 0, card 1`;
  return el("span", { class: "index", tabindex: 0, data: { tip } }, el("b", {}, name), ` ${number(value, 2)} `, el("small", {}, value === null ? "" : interval(index, 2)));
}

/** All rows as a table, the pooled ones first. */
export function table(rows) {
  const sorted = [...rows.filter((r) => r.model === "*"), ...rows.filter((r) => r.model !== "*")];
  const head = ["model", "format", "character", "trait", ...Object.keys(INDICES), "class"];
  const cell = (index) => (Number.isFinite(index?.value) ? [el("span", {}, number(index.value, 3)), el("span", { class: "quiet" }, interval(index, 2))] : "–");
  const pooled = (text) => (text === "*" ? "all" : text);
  return el("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": "Marks" }, el("table", { class: "index-table" }, el("caption", {}, "Index from the base (0) to the persona card (1), with 95 % intervals"),
    el("thead", {}, el("tr", {}, ...head.map((h) => el("th", { scope: "col", ...(INDICES[h] ? { title: INDICES[h] } : {}) }, h)))),
    el("tbody", {}, ...sorted.map((r) => el("tr", {}, ...[pooled(r.model), r.format, pooled(r.character), pooled(r.trait), ...Object.keys(INDICES).map((k) => cell(r.indices[k])), r.class ?? ""].map((c) => el("td", {}, c)))))));
}
