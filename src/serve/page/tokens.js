// Text as tokens, each tinted by its projection on the chosen vector at the chosen site. All sites of a vector are at hand, so
// another site is another look at the same numbers.

import { percentile, position, scale, tint } from "./colour.js";
import { el } from "./dom.js";
import { on, profileAt, state } from "./state.js";

const texts = new WeakMap();

/** What a token element shows: `{z, percentile, site, vector, text}`; null where it has no value. */
export function reading(element) {
  const line = element.closest(".tokens");
  return (line && texts.get(line)?.reading(element)) ?? null;
}

/**
 * A line of tokens. `reads` are projections by vector: `{[id]: {sites, rows: [per token: [per site]], texts?}}`; where a reading has texts
 * of its own (a conversation measured after the fact may be cut into other tokens), those are shown.
 */
export class Tokens {
  constructor(label) {
    this.node = el("div", { class: "tokens", role: "group", "aria-label": label });
    this.texts = [];
    this.marked = null;
    this.reads = {};
    this.shown = null;
    this.colours = true;
    texts.set(this.node, this);
  }

  /** One more token. */
  push(text) {
    this.texts.push(text);
    if (this.shown === this.texts) this.node.append(this.span(text, this.texts.length - 1));
    else this.paint();
  }

  /** Everything at once. */
  set(texts, reads = {}) {
    this.texts = texts;
    this.reads = reads;
    this.shown = null;
    this.paint();
  }

  /** The projections of one token, one per site. */
  put(id, sites, index, values) {
    const read = (this.reads[id] ??= { sites, rows: [] });
    read.rows[index] = values;
    if (id === state.lens.vector && this.shown === this.texts) this.colour(index, this.scale());
  }

  /** Marks tokens (those in which two answers differ); null takes marks away. */
  mark(indices) {
    this.marked = indices;
    this.shown = null;
    this.paint();
  }

  paint() {
    const read = this.reads[state.lens.vector];
    const now = read?.texts ?? this.texts;
    if (this.shown !== now) {
      this.node.replaceChildren(...now.map((text, i) => this.span(text, i)));
      this.shown = now;
    }
    const its = this.scale();
    for (let i = 0; i < now.length; i += 1) this.colour(i, its);
  }

  span(text, i) {
    const differs = this.marked?.has(i) && this.texts === (this.reads[state.lens.vector]?.texts ?? this.texts);
    // One stop for the keyboard per line of tokens; arrows go on from there.
    return el("span", { class: differs ? "token differs" : "token", tabindex: i === 0 ? "0" : "-1" }, text);
  }

  /** The scale of the default on what colours the tokens; null while it is not known. */
  scale() {
    const profile = profileAt(state.lens.vector, state.lens.site);
    return profile ? scale(profile.token.quantiles) : null;
  }

  colour(i, its) {
    const element = this.node.children[i];
    if (!element) return;
    const z = this.colours ? this.value(i) : null;
    if (z === null) delete element.dataset.z;
    else element.dataset.z = String(z);
    tint(element, z === null || !its ? null : position(its, z));
  }

  value(i) {
    const read = this.reads[state.lens.vector];
    const z = read?.rows[i]?.[read.sites.indexOf(state.lens.site)];
    return Number.isFinite(z) ? z : null;
  }

  reading(element) {
    const i = [...this.node.children].indexOf(element);
    const z = this.colours ? this.value(i) : null;
    if (z === null) return null;
    const profile = profileAt(state.lens.vector, state.lens.site);
    const below = profile ? percentile(profile.token.quantiles, z) : null;
    return { text: element.textContent, z, percentile: below, ...state.lens };
  }
}

const repaint = () => document.querySelectorAll(".tokens").forEach((node) => texts.get(node)?.paint());
on("lens", repaint);
on("profile", repaint);

document.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const from = event.target;
  if (!step || !from.classList?.contains("token")) return;
  const next = step > 0 ? from.nextElementSibling : from.previousElementSibling;
  if (!next) return;
  from.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
  event.preventDefault();
});

/** Indices of tokens of `a` and of `b` that no longest common subsequence of the two has. */
export function differing(a, b) {
  const table = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i -= 1)
    for (let j = b.length - 1; j >= 0; j -= 1)
      table[i][j] = a[i] === b[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
  const [left, right] = [new Set(), new Set()];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      i += 1;
      j += 1;
    } else if (j >= b.length || (i < a.length && table[i + 1][j] >= table[i][j + 1])) {
      left.add(i);
      i += 1;
    } else {
      right.add(j);
      j += 1;
    }
  }
  return [left, right];
}
