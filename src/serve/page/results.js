// The Results tab: runs with their figures and tables, and the command that made each.

import { get, post } from "./api.js";
import { talk } from "./conversation.js";
import { byId, command, el, empty } from "./dom.js";
import { clearError, showError } from "./errors.js";
import { emit, forgetProfiles, on, reloadVectors, setLens, state } from "./state.js";
import { runTable } from "./table.js";

let runs = null;

/** Builds the tab; runs are asked for when it is first opened. */
export function start() {
  byId("panel-results").append(
    el("div", { class: "row" }, el("h2", {}, "Runs"), el("span", { class: "grow" }), el("span", { id: "rescan-note", class: "quiet", role: "status" }), el("button", { id: "rescan", type: "button", class: "small", onclick: rescan }, "Look again")),
    el("div", { id: "runs", class: "stack" }));
  on("tab", (name) => name === "results" && !runs && ask());
}

async function ask() {
  byId("runs").replaceChildren(el("p", { class: "quiet" }, "Looking …"));
  try {
    runs = (await get("/api/runs")).body;
    show();
  } catch (e) {
    byId("runs").replaceChildren();
    showError(e, byId("runs"));
  }
}

async function rescan() {
  clearError();
  try {
    const found = await post("/api/rescan", {});
    byId("rescan-note").textContent = `${found.runs} runs, ${found.vectors} vectors`;
    forgetProfiles();
    talk.messages.filter((m) => !m.pending).forEach((m) => (m.reads = {}));
    await Promise.all([ask(), reloadVectors()]);
    setLens(state.lens.vector, state.lens.site);
    emit("rescanned");
  } catch (e) {
    showError(e, byId("panel-results"));
  }
}

function show() {
  const none = empty("No runs here yet. ", el("code", {}, "personascope demo"), " makes four; then start the page with their folder, or press “Look again”.");
  byId("runs").replaceChildren(...(runs.length ? runs.map(runCard) : [none]));
}

function runCard(run) {
  const body = el("div", { class: "run-body" });
  const counts = [run.kind !== run.stem ? run.kind : null, run.model.name ?? "model not recorded", `${run.figures.length} figures`, `${run.tables.length} tables`].filter(Boolean).join(" · ");
  const head = el("summary", {}, el("strong", {}, run.stem), el("span", { class: "quiet" }, counts), run.same_model ? null : el("span", { class: "tag" }, run.model.hash ? "another model" : "model not recorded"), run.question ? el("span", { class: "question" }, run.question) : null);
  const card = el("details", { class: "run", data: { run: run.id } }, head, body);
  // Figures are only fetched for what is opened.
  card.addEventListener("toggle", () => card.open && !body.children.length && body.append(...inside(run)));
  return card;
}

function inside(run) {
  const view = el("div", { class: "run-view" });
  const file = (name, words) => el("a", { class: "download", href: address("/api/download", { run: run.id, file: name }), download: name.split("/").at(-1) }, words);
  return [
    run.same_model ? null : el("p", { class: "warning" }, run.model.hash ? `Made with another model than the one on this page: ${run.model.name ?? ""} ${run.model.hash.slice(0, 12)}.` : "Which model it was made with is not recorded."),
    run.summary.length ? el("ul", { class: "summary" }, ...run.summary.map((s) => el("li", {}, s))) : null,
    ...run.warnings.map((w) => el("p", { class: "warning" }, w)),
    run.command ? command(run.command, "The command that made this run") : null,
    run.figures.length ? el("div", { class: "figures" }, ...run.figures.map((f) => figure(run, f, file))) : null,
    el("div", { class: "tables" }, ...run.tables.map((t) => el("button", { type: "button", class: "run-table-open", data: { table: t.name }, "aria-expanded": "false", onclick: (e) => openTable(e.currentTarget, run, t, view, file) }, t.name, Number.isFinite(t.rows) ? el("small", {}, ` ${t.rows} × ${t.columns}`) : null))),
    view,
    el("div", { class: "row" }, run.vectors ? file("directions.safetensors", "directions.safetensors") : null, file("run.json", "run.json")),
  ].filter(Boolean);
}

function openTable(button, run, table, view, file) {
  const again = button.getAttribute("aria-expanded") === "true";
  for (const other of button.parentElement.children) other.setAttribute("aria-expanded", "false");
  if (again) return view.replaceChildren();
  button.setAttribute("aria-expanded", "true");
  view.replaceChildren(runTable(run, table, file(`${table.name}.csv`, "Download CSV")));
}

function figure(run, { name, caption }, file) {
  const image = el("img", { src: address("/api/figure", { run: run.id, name }), alt: caption || name, loading: "lazy" });
  const button = el("button", { type: "button", class: "zoom", "aria-label": `Enlarge ${name}`, onclick: () => enlarge(image, name) }, image);
  const words = caption.length > 280 ? el("details", { class: "caption" }, el("summary", {}, el("span", {}, `${caption.slice(0, 160)} …`)), caption) : caption;
  return el("figure", {}, button, el("figcaption", {}, words, " ", file(`${name}.svg`, "SVG")));
}

function enlarge(image, name) {
  const dialog = el("dialog", { class: "enlarged", "aria-label": name }, el("form", { method: "dialog" }, el("button", { class: "primary" }, "Close")), el("img", { src: image.src, alt: image.alt }));
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

const address = (path, query) => `${path}?${new URLSearchParams(query)}`;
