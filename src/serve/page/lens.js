// What the tokens are coloured by: the choosers of vector and site, and the legend of the scale.

import { FULL, scale } from "./colour.js";
import { byId, el, number, options } from "./dom.js";
import { on, profileAt, profileFault, profileOf, setLens, state, vector } from "./state.js";

/** Fills the choosers and keeps them and the legend in step. */
export function start() {
  byId("vector").addEventListener("change", (e) => setLens(e.target.value, state.lens.site));
  byId("site").addEventListener("change", (e) => setLens(state.lens.vector, e.target.value));
  for (const name of ["vectors", "lens"]) on(name, fill);
  on("profile", legend);
  fill();
}

/** Fills a chooser with all vectors, by the file they are of; keeps what was chosen where it is still there. */
export function vectorChooser(select, chosen) {
  const kept = [select.value, chosen].find((id) => vector(id));
  const sources = [...new Set(state.vectors.map((v) => v.source))];
  const option = (v) => el("option", { value: v.id }, v.name || v.source);
  const group = (source) => el("optgroup", { label: source }, ...state.vectors.filter((v) => v.source === source).map(option));
  select.replaceChildren(...(sources.length ? sources.map(group) : [el("option", { value: "" }, "no vectors yet")]));
  if (kept !== undefined) select.value = kept;
}

function fill() {
  const [chooser, sites] = [byId("vector"), byId("site")];
  vectorChooser(chooser);
  chooser.value = state.lens.vector ?? "";
  chooser.disabled = !state.vectors.length;
  const there = vector(state.lens.vector)?.sites ?? ["none"];
  options(sites, there.map((s) => [s, s]));
  sites.value = state.lens.site ?? "none";
  sites.disabled = chooser.disabled;
  legend();
}

function legend() {
  const place = byId("legend");
  const { vector: id, site } = state.lens;
  const v = vector(id);
  if (!v) return place.replaceChildren(el("span", {}, "Persona space is being computed: its axes will be vectors. Files are given with --vector."));
  const profile = profileAt(id, site);
  const warnings = v.warnings.length ? [el("span", { class: "warning", tabindex: 0, data: { tip: v.warnings.join("\n") } }, v.warnings.length === 1 ? "1 warning" : `${v.warnings.length} warnings`)] : [];
  if (!profile) {
    const fault = profileFault(id);
    const words = fault ? `Not measured: ${fault.message} ${fault.hint}` : "The default assistant is being measured; colours follow.";
    return place.replaceChildren(el("span", {}, words), ...warnings);
  }
  const { centre, half } = scale(profile.token.quantiles);
  const bar = el("span", { class: "bar", "aria-hidden": "true" });
  for (let i = -6; i <= 6; i += 1) {
    const step = el("i", { class: i < 0 ? "down" : "up" });
    step.style.setProperty("--a", `${((Math.abs(i) / 6) * FULL * 100).toFixed(1)}%`);
    bar.append(step);
  }
  const known = profileOf(id);
  const end = (x, words) => el("span", { class: "end", data: { tip: `${number(x)}\n${words}` } }, el("b", {}, number(x, 3)), ` ${words}`);
  const note = `Centre ${number(centre, 3)}: the median of ${known.tokens} tokens of ${known.replies} replies of the default assistant. The scale ends where 1 % of them lie beyond.`;
  bar.dataset.tip = note;
  place.replaceChildren(end(centre - half, v.negative || "less"), bar, end(centre + half, v.positive || "more"), el("span", { class: "hidden-text" }, note), ...warnings);
}
