// The Steer tab: the same question with the same random numbers, answered plainly and with the edits.

import { Answer, drawArms, follow } from "./answers.js";
import { byId, command, el, empty, number, options } from "./dom.js";
import { dose } from "./dose.js";
import { editList } from "./edits.js";
import { clearError, showError } from "./errors.js";
import { prompt } from "./prompt.js";
import { saver } from "./saver.js";
import { on, state } from "./state.js";
import { differing } from "./tokens.js";

let running = null;
let shown = [];

/** Builds the tab. */
export function start() {
  const form = prompt("steer");
  const list = editList();
  const adapter = options(el("select", { id: "steer-adapter", "aria-label": "Adapter" }), [["", "base model"], ...state.about.adapters.map((a) => [a, a])]);
  const none = empty("No vectors yet. Start the page with a folder of results or a directions file, or open the Map: when persona space is computed, its axes are vectors.");
  const left = el("section", { class: "form", "aria-label": "What to do" },
    el("h2", {}, "Question"), form.node,
    state.about.adapters.length ? el("label", { class: "field" }, el("span", {}, "Model"), adapter) : null,
    el("h2", {}, "Edits"), none, list.node,
    el("div", { class: "row" },
      el("button", { id: "steer-run", class: "primary", type: "button", onclick: () => run(form, list, adapter.value) }, "Answer plainly and steered"),
      el("button", { id: "steer-stop", type: "button", hidden: true, onclick: () => running?.abort() }, "Stop")),
    saver("Save this vector", () => ({ vector: list.first()?.vector.value }), "steer-save"));
  const right = el("section", { class: "results-side", "aria-label": "Answers" },
    el("div", { id: "steer-answers", class: "two" }, empty("Both answers are drawn with the same random numbers: where the edit changes nothing, they are the same. Tokens in which they differ are underlined.")),
    el("div", { id: "receipt" }),
    el("div", { id: "steer-command" }),
    dose(form, list, () => adapter.value, { busy, free }));
  byId("panel-steer").append(left, right);
  const vectors = () => {
    none.hidden = state.vectors.length > 0;
    byId("steer-run").disabled = byId("dose-run").disabled = !state.vectors.length;
  };
  on("vectors", vectors);
  vectors();
  follow(() => shown);
}

/** Only one request of this tab at a time: takes the place of what may be under way. */
function busy() {
  running?.abort();
  running = new AbortController();
  byId("steer-stop").hidden = false;
  return running;
}

function free(controller) {
  if (running !== controller) return;
  running = null;
  byId("steer-stop").hidden = true;
}

async function run(form, list, adapter) {
  clearError();
  let ask;
  try {
    const edits = list.edits();
    const model = adapter || null;
    ask = form.ask([{ name: "plain", adapter: model, edits: [] }, { name: "steered", adapter: model, edits }]);
  } catch (e) {
    return showError(e, byId("panel-steer").querySelector(".form"));
  }
  const controller = busy();
  const [plain, steered] = (shown = [new Answer("Plain", { id: "answer-plain" }), new Answer("Steered", { id: "answer-steered" })]);
  byId("steer-answers").replaceChildren(plain.node, steered.node);
  byId("receipt").replaceChildren();
  byId("steer-command").replaceChildren();
  let start = null;
  try {
    await drawArms(ask, shown, controller.signal, {
      then: (data) => {
        start = data;
        byId("steer-command").replaceChildren(...(data.warnings ?? []).map((w) => el("p", { class: "warning" }, w)), el("h3", {}, "The same from the command line"), ...unsaved(data.arms[1].edits), command(data.arms[1].command));
      },
      each: () => plain.done && steered.done && compared(plain, steered, start),
    });
  } catch (e) {
    showError(e, byId("panel-steer").querySelector(".results-side"));
  }
  free(controller);
}

/** Vectors that no file has yet: the command line reads them from where they are saved. */
function unsaved(edits) {
  const names = [...new Set(edits.map((e) => state.vectors.find((v) => v.id === e.vector)?.unsaved).filter(Boolean))];
  return names.map((name) => el("p", { class: "note" }, "Save the vector as ", el("code", {}, name), " first: the command reads it from there."));
}

/** Marks where the answers differ, and shows what the edits did. */
function compared(plain, steered, start) {
  const [left, right] = differing(plain.ids, steered.ids);
  plain.tokens.mark(left);
  steered.tokens.mark(right);
  const words = left.size + right.size === 0 ? "The two answers are the same, token by token." : `${right.size} of ${steered.ids.length} tokens of the steered answer are not in the plain one.`;
  byId("receipt").replaceChildren(el("p", { class: "note" }, words), receipt(steered.done.receipts, start.arms[1].edits));
}

/** The receipt as a table: what each edit touched, and where the projection went. */
export function receipt(receipts, edits) {
  const spread = (s) => (s ? [el("b", {}, number(s.mean)), el("span", { class: "quiet" }, `${number(s.p05, 3)} to ${number(s.p95, 3)}`)] : "–");
  const head = ["edit", "strength", "tokens", "changed", "projection before", "after", "stream's length", "fault"];
  const rows = receipts.map((r) => {
    const e = edits[r.edit] ?? {};
    return [
      `${e.op} ${nameOf(e.vector)} at ${e.site}, ${e.on}`,
      [el("b", {}, String(e.strength)), el("span", { class: "quiet" }, e.op === "scale" ? "times" : `${number(e.amount)} units`)],
      r.rows,
      r.changed,
      spread(r.before),
      spread(r.after),
      `× ${number(r.norm_ratio, 4)}`,
      r.fault ? el("span", { class: "warning" }, r.fault) : "none",
    ];
  });
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Receipt" }, el("table", { class: "receipt" }, el("caption", {}, "Receipt: what the edits did, measured on the stream (mean, and 5 to 95 %)"),
    el("thead", {}, el("tr", {}, ...head.map((h) => el("th", { scope: "col" }, h)))),
    el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((cell) => el("td", {}, cell)))))));
}

const nameOf = (id) => state.vectors.find((v) => v.id === id)?.name ?? id;
