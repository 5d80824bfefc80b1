// The Compare tab: the base and its adapters answer the same question with the same random numbers, each beside its marks.

import { get } from "./api.js";
import { Answer, drawArms, follow } from "./answers.js";
import { byId, command, commands, el, empty } from "./dom.js";
import { clearError, showError } from "./errors.js";
import { chips, formats, marksOf, table } from "./marks.js";
import { prompt } from "./prompt.js";
import { on, state } from "./state.js";

let running = null;
let shown = [];
let marks = null;
const chosenFormat = new Map();

/** Builds the tab; marks are asked for when it is first opened. */
export function start() {
  const form = prompt("compare");
  const box = (value, words) => el("label", { class: "check" }, el("input", { type: "checkbox", name: "compare-model", value, checked: true }), ` ${words}`);
  const { adapters } = state.about;
  const none = adapters.length ? null : empty("No adapters were given: only the base answers. Start the page with --adapter NAME=FOLDER, or train some with ", el("code", {}, "personascope compare"), ".");
  byId("panel-compare").append(
    el("section", { class: "form", "aria-label": "Question" },
      el("h2", {}, "Question"), form.node,
      el("fieldset", { class: "edit", id: "compare-models" }, el("legend", {}, "Who answers"), box("", "base model"), ...adapters.map((a) => box(a, a))),
      none,
      el("div", { class: "row" },
        el("button", { id: "compare-run", class: "primary", type: "button", onclick: () => run(form) }, "Answer next to each other"),
        el("button", { id: "compare-stop", type: "button", hidden: true, onclick: () => running?.abort() }, "Stop"))),
    el("section", { class: "results-side", "aria-label": "Answers" },
      el("div", { id: "compare-answers", class: "arms" }, empty("Each answer stands beside its marks from the last comparison: what the fine-tune knows of its character (K), says of itself (S), shows in replies (E) and carries in the stream (L). The base is 0, a persona card 1.")),
      el("div", { id: "compare-commands" }),
      el("div", { id: "marks", class: "stack" })));
  follow(() => shown);
  on("tab", (name) => name === "compare" && !marks && ask());
  on("rescanned", () => ((marks = null), ask()));
}

async function ask() {
  try {
    marks = (await get("/api/marks")).body;
  } catch (e) {
    return showError(e, byId("marks"));
  }
  const rest = marks.run
    ? [el("h2", {}, "Marks of the last comparison"), marks.command ? command(marks.command) : null, table(marks.rows)]
    : [el("h2", {}, "Marks"), empty("No comparison was found. This makes one; start the page with its folder, or look again in Results:"), command(marks.command ?? "personascope compare probes/knowing.toml --out knowing")];
  byId("marks").replaceChildren(...rest.filter(Boolean));
  mark();
}

async function run(form) {
  clearError();
  const models = [...document.querySelectorAll("#compare-models input:checked")].map((i) => i.value);
  const arms = models.map((m) => ({ name: m || "base", adapter: m || null, edits: [] }));
  let body;
  try {
    if (!arms.length) throw Object.assign(new Error("Nobody is to answer."), { hint: "Tick at least one model." });
    if (arms.length > state.about.limits.arms) throw Object.assign(new Error(`${arms.length} models are more than can answer at once.`), { hint: `Tick at most ${state.about.limits.arms}.` });
    body = form.ask(arms);
  } catch (e) {
    return showError(e, byId("panel-compare").querySelector(".form"));
  }
  running?.abort();
  const controller = (running = new AbortController());
  byId("compare-stop").hidden = false;
  shown = arms.map((a) => new Answer(a.adapter ?? "base model", { class: "compare-arm", "data-adapter": a.adapter ?? "" }));
  byId("compare-answers").replaceChildren(...shown.map((s) => s.node));
  byId("compare-commands").replaceChildren();
  mark();
  try {
    await drawArms(body, shown, controller.signal, { then: (data) => byId("compare-commands").replaceChildren(commands(data)) });
  } catch (e) {
    showError(e, byId("panel-compare").querySelector(".results-side"));
  }
  if (running === controller) {
    running = null;
    byId("compare-stop").hidden = true;
  }
}

/** Puts each answer's marks under its name; where the comparison does not know the adapter, a format can be chosen. */
function mark() {
  if (!marks?.run) return;
  for (const answer of shown) {
    const adapter = answer.node.dataset.adapter;
    answer.node.querySelector(".marks")?.remove();
    if (!adapter) continue;
    const known = marks.known[adapter];
    const rows = marksOf(marks.rows, known?.model, chosenFormat.get(adapter));
    const place = el("div", { class: "marks" }, ...notes(adapter, known).map((words) => el("p", { class: "quiet" }, words)), ...rows.map(chips));
    if (!rows.length) place.append(chooser(adapter));
    answer.title.after(place);
  }
}

/** What keeps marks from being those of what answers here. */
function notes(adapter, known) {
  const all = [];
  if (known?.same === false) all.push("Marks of a fine-tune of this name with other weights.");
  if (known?.same && known.model !== adapter) all.push(`These weights are ${known.model} there.`);
  if (known && marks.same_base === false) all.push("The base of that comparison is another model.");
  return all;
}

function chooser(adapter) {
  const pairs = formats(marks.rows);
  const select = el("select", { "aria-label": `Marks of which format for ${adapter}` }, el("option", { value: "" }, "no marks of it: choose a format"), ...pairs.map((f) => el("option", { value: f }, f)));
  select.addEventListener("change", () => {
    chosenFormat.set(adapter, select.value);
    mark();
  });
  return select;
}
