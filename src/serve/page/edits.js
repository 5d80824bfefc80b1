// The list of edits: which vector, at which site, what is done to the coordinate, on which tokens, how strongly.

import { el, field, number, numberIn, options } from "./dom.js";
import { vectorChooser } from "./lens.js";
import { emit, on, profile, profileAt, state, vector } from "./state.js";

/** What is done to a coordinate, in words. */
export const OPS = [
  ["shift", "shift: add along the vector"],
  ["cap-floor", "cap-floor: lift what is below the strength to it"],
  ["cap-ceiling", "cap-ceiling: lower what is above the strength to it"],
  ["pin", "pin: set the coordinate to the strength"],
  ["scale", "scale: multiply the coordinate (0 takes it out)"],
];

/** Where an edit applies. */
export const PLACES = [
  ["last_prompt+generated", "the reply and the token before"],
  ["all", "all tokens"],
  ["generated", "the reply"],
  ["prompt", "the prompt"],
  ["last_prompt", "the token before the reply"],
  ["positions:", "positions …"],
  ["turns:", "turns …"],
];

// The slider's reach and step by unit, and where it begins.
const REACH = {
  n: { min: -1, max: 1, step: 0.05, start: 0.5, words: "mean norms of the stream" },
  p: { min: 0, max: 100, step: 1, start: 25, words: "percentile of the default's tokens" },
  x: { min: 0, max: 3, step: 0.05, start: 0, words: "times" },
  u: { min: -20, max: 20, step: 0.1, start: 1, words: "activation units" },
};

const UNITS = { shift: ["n", "u"], pin: ["p", "u"], "cap-floor": ["p", "u"], "cap-ceiling": ["p", "u"], scale: ["x"] };

/** How a strength is written for the server. */
export const strengthWords = (value, unit) => ({ n: `${value}n`, p: `p${value}` })[unit] ?? String(value);

/** The strengths of a dose strip in a unit: nine, evenly from `low` to `high`. */
export function nine(low, high, unit) {
  const digits = unit === "p" ? 1 : 4;
  return Array.from({ length: 9 }, (_, i) => Number((low + ((high - low) * i) / 8).toFixed(digits)));
}

/** The list as a form: `node`, `edits()` as the server takes them, and `first()`, the edit that the dose strip varies. */
export function editList() {
  const rows = el("div", { class: "stack" });
  const list = [];
  let head = null;
  const add = el("button", { type: "button", id: "edit-add", class: "small" }, "Add an edit");
  const renew = () => {
    rows.replaceChildren(...list.map((e) => e.node));
    list.forEach((edit, i) => edit.nth(i, list.length));
    if (list[0] !== head) emit("reach", (head = list[0]));
  };
  const more = () => {
    list.push(new Edit((edit) => (list.splice(list.indexOf(edit), 1), renew())));
    renew();
  };
  add.addEventListener("click", more);
  if (state.vectors.length) more();
  on("vectors", () => (list.length || !state.vectors.length ? list.forEach((e) => e.fill()) : more()));
  on("profile", () => list.forEach((e) => e.say()));
  on("lens", () => list.forEach((e) => e.follow()));
  return { node: el("div", { class: "stack" }, rows, el("div", { class: "row" }, add)), edits: () => list.map((e) => e.value()), first: () => list[0] ?? null };
}

class Edit {
  constructor(remove) {
    this.chosen = false;
    this.vector = el("select", { onchange: () => ((this.chosen = true), this.fillSites()) });
    this.site = el("select", { onchange: () => ((this.chosen = true), this.say()) });
    this.op = options(el("select", { onchange: () => this.fillUnits() }), OPS);
    this.on = options(el("select", { onchange: () => (this.where.hidden = !this.on.value.endsWith(":")) }), PLACES);
    this.where = el("input", { type: "text", hidden: true, placeholder: "0,-1", "aria-label": "Which positions or turns, counted from 0" });
    this.unit = el("select", { "aria-label": "Unit of the strength", onchange: () => this.fillReach() });
    this.slider = el("input", { type: "range", "aria-label": "Strength", oninput: () => this.moved(this.exact, this.slider) });
    this.exact = el("input", { type: "number", step: "any", "aria-label": "Strength, exactly", oninput: () => this.moved(this.slider, this.exact) });
    this.amount = el("small", { class: "quiet", "aria-live": "off" });
    this.title = el("legend", {});
    this.drop = el("button", { type: "button", class: "plain small", onclick: () => remove(this) }, "Remove");
    this.node = el("fieldset", { class: "edit" }, this.title,
      field("Vector", this.vector),
      field("What is done", this.op),
      el("div", { class: "grid-2 site-where" }, field("Site", this.site), el("div", { class: "stack tight" }, field("Where", this.on), this.where)),
      el("div", { class: "strength" }, this.slider, this.exact, this.unit),
      el("div", { class: "row" }, this.amount, el("span", { class: "grow" }), this.drop));
    this.fill();
    this.fillUnits();
  }

  /** The first edit's slider has a name of its own, and the dose strip varies it. */
  nth(i, of) {
    this.slider.id = i === 0 ? "steer-strength" : `steer-strength-${i}`;
    this.title.textContent = of > 1 ? `Edit ${i + 1}` : "Edit";
    this.drop.disabled = of === 1;
  }

  fill() {
    vectorChooser(this.vector, state.lens.vector);
    this.fillSites();
  }

  /** What is looked at is what is steered, until another vector or site is chosen here. */
  follow() {
    if (this.chosen || !state.lens.vector) return;
    this.vector.value = state.lens.vector;
    this.fillSites();
    this.site.value = state.lens.site;
    this.say();
  }

  fillSites() {
    const v = vector(this.vector.value);
    const old = this.site.value;
    options(this.site, (v?.sites ?? []).map((s) => [s, s]), v?.site);
    if (!v?.sites.includes(old) && v) this.site.value = v.site;
    if (v) profile(v.id);
    this.say();
  }

  fillUnits() {
    options(this.unit, UNITS[this.op.value].map((u) => [u, REACH[u].words]));
    this.unit.disabled = UNITS[this.op.value].length === 1;
    this.fillReach();
  }

  fillReach() {
    const reach = REACH[this.unit.value];
    for (const key of ["min", "max", "step"]) this.slider[key] = reach[key];
    this.slider.value = this.exact.value = reach.start;
    this.say();
    emit("reach", this);
  }

  /** The slider and the number go together. */
  moved(follower, leader) {
    follower.value = leader.value;
    this.say();
    emit("reach", this);
  }

  /** What the strength is in the stream, as far as that is known here. */
  say() {
    const at = profileAt(this.vector.value, this.site.value);
    const x = this.exact.valueAsNumber;
    const unit = this.unit.value;
    const known = at && Number.isFinite(x);
    if (unit === "n") this.amount.textContent = known ? `= ${number(x * at.mean_norm)} units along the vector; 1 n = ${number(at.mean_norm, 3)}` : "";
    else if (unit === "p") this.amount.textContent = known ? `= ${number(quantile(at.token.quantiles, x))} on the vector` : "";
    else this.amount.textContent = at ? `the default's tokens: ${number(at.token.quantiles[1], 3)} to ${number(at.token.quantiles[99], 3)}` : "";
  }

  /** As the server takes it; `strength` instead of what the slider says. */
  value(strength) {
    const x = strength ?? numberIn(this.exact, "Strength");
    const on = this.on.value.endsWith(":") ? this.on.value + this.where.value.replaceAll(" ", "") : this.on.value;
    return { vector: this.vector.value, site: this.site.value, op: this.op.value, on, strength: strengthWords(x, this.unit.value) };
  }

  /** Where a dose strip of this edit begins and ends: to both sides of zero for what is added, over the slider for the rest. */
  reach() {
    const { min, max } = REACH[this.unit.value];
    const unit = this.unit.value;
    if (unit === "p") return { low: 5, high: 95, unit };
    if (unit === "x") return { low: 0, high: 2, unit };
    const x = Math.abs(this.exact.valueAsNumber) || max;
    return unit === "n" ? { low: -x, high: x, unit } : { low: Math.max(min, -x), high: Math.min(max, x), unit };
  }
}

/** The value at a percentile, straight between the quantiles. */
export function quantile(quantiles, percent) {
  const at = (Math.max(0, Math.min(100, percent)) / 100) * (quantiles.length - 1);
  const low = Math.floor(at);
  const high = Math.min(quantiles.length - 1, low + 1);
  return quantiles[low] + (quantiles[high] - quantiles[low]) * (at - low);
}
