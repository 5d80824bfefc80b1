// The dose strip: one edit at nine strengths, in one request that computes the question once.

import { Answer, drawArms, follow } from "./answers.js";
import { blank, drawn, extent, frame, ticks } from "./chart.js";
import { commands, el, number, numberIn, svg } from "./dom.js";
import { nine } from "./edits.js";
import { clearError, showError } from "./errors.js";
import { on, profileAt, state, vector } from "./state.js";

const HEIGHT = 220;
const UNITS = { n: "mean norms", p: "percentiles", x: "times", u: "units" };
let shown = [];

/** The strip as an element; `form` and `list` are those of the tab, `turns` keeps its requests from overlapping. */
export function dose(form, list, adapter, turns) {
  const low = el("input", { type: "number", id: "dose-low", step: "any", "aria-label": "From" });
  const high = el("input", { type: "number", id: "dose-high", step: "any", "aria-label": "To" });
  const unit = el("span", { class: "quiet" });
  let touched = false;
  const renew = () => {
    const reach = list.first()?.reach();
    if (!reach || touched) return;
    [low.value, high.value] = [reach.low, reach.high];
    unit.textContent = UNITS[reach.unit];
  };
  for (const input of [low, high]) input.addEventListener("input", () => (touched = true));
  on("reach", (edit) => {
    if (!edit || edit !== list.first()) return;
    touched = false;
    renew();
  });
  renew();
  const chart = svg("svg", { id: "dose-chart", class: "chart", role: "group", "aria-label": "Mean projection of the reply by strength" });
  const host = el("div", { class: "chart-host" , hidden: true }, chart);
  const cards = el("div", { class: "doses" });
  const lines = el("div");
  const again = drawn(host, (width) => draw(chart, width));
  for (const name of ["lens", "profile"]) on(name, () => again());
  follow(() => shown.map((s) => s.answer));

  const run = async () => {
    clearError();
    const edit = list.first();
    let ask;
    try {
      const { unit } = edit.reach();
      const [from, to] = [numberIn(low, "From"), numberIn(high, "To")];
      if (!(from < to)) throw Object.assign(new Error("The strip needs a lower and a higher strength."), { hint: "Write two numbers, the smaller one first." });
      const strengths = nine(from, to, unit);
      const others = list.edits().slice(1);
      shown = strengths.map((x) => ({ x, words: edit.value(x).strength, unit, answer: new Answer(edit.value(x).strength.replace("-", "−"), { class: "dose", "data-strength": edit.value(x).strength }) }));
      ask = form.ask(strengths.map((x) => ({ name: edit.value(x).strength, adapter: adapter() || null, edits: [edit.value(x), ...others] })));
    } catch (e) {
      return showError(e, cards.parentElement);
    }
    const controller = turns.busy();
    cards.replaceChildren(...shown.map((s) => s.answer.node));
    lines.replaceChildren();
    host.hidden = false;
    again();
    try {
      await drawArms(ask, shown.map((s) => s.answer), controller.signal, { then: (data) => lines.replaceChildren(commands(data)), each: () => again() });
    } catch (e) {
      showError(e, cards.parentElement);
    }
    turns.free(controller);
  };

  return el("section", { class: "stack", "aria-label": "Dose strip" },
    el("h2", {}, "Dose strip"),
    el("div", { class: "row" }, "Nine strengths of the first edit, from ", low, " to ", high, unit, el("button", { type: "button", id: "dose-run", onclick: run }, "Answer at nine strengths")),
    host, cards, lines);
}

function draw(chart, width) {
  blank(chart, width, HEIGHT);
  if (!shown.length) return;
  const points = shown.map((s) => ({ ...s, y: s.answer.mean() })).filter((p) => Number.isFinite(p.y));
  const band = profileAt(state.lens.vector, state.lens.site)?.turn;
  const range = extent([...points.map((p) => p.y), ...(band ? [band.low, band.high] : [])]) ?? [-1, 1];
  const box = { left: 48, right: width - 14, top: 10, bottom: HEIGHT - 42 };
  const unit = { n: "strength in mean norms of the stream", p: "percentile of the default", x: "factor", u: "strength in activation units" }[shown[0].unit];
  const at = shown.filter((_, i) => width > 420 || i % 2 === 0).map((s) => s.x);
  const x = { range: [shown[0].x, shown.at(-1).x], name: unit, at, words: (t) => String(t).replace("-", "−") };
  const { px, py } = frame(chart, box, x, { range, name: vector(state.lens.vector)?.name ?? "projection", at: ticks(...range, 4) });
  if (band) chart.append(svg("rect", { class: "band", x: box.left, width: box.right - box.left, y: py(band.high), height: Math.max(0, py(band.low) - py(band.high)) }));
  if (points.length > 1) chart.append(svg("path", { class: "line", d: points.map((p, i) => `${i ? "L" : "M"}${px(p.x)} ${py(p.y)}`).join("") }));
  for (const p of points) {
    const tip = `${number(p.y)}\nat ${p.words}\n${number(p.answer.done?.quality?.nll, 3)} nats per token`;
    chart.append(svg("circle", { class: "dose-point", cx: px(p.x), cy: py(p.y), r: 5, tabindex: 0, role: "img", "aria-label": tip.replaceAll("\n", ", "), data: { tip } }));
  }
}
