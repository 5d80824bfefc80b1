// A table of a run: sorted, filtered and paged by the server, so that a million rows cost a page of them.

import { get } from "./api.js";
import { el, later } from "./dom.js";
import { showError } from "./errors.js";

const PAGE = 100;

/** The table with its tools. */
export function runTable(run, table, downloads) {
  const view = { sort: null, desc: false, filter: "", offset: 0, asked: 0 };
  const filter = el("input", { type: "search", placeholder: "filter: words, col=value, col>number", "aria-label": `Filter rows of ${table.name}` });
  const said = el("span", { class: "quiet", role: "status" });
  const back = el("button", { type: "button", class: "small", onclick: () => page(-1) }, "Previous");
  const next = el("button", { type: "button", class: "small", onclick: () => page(1) }, "Next");
  const place = el("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": table.name });
  const box = el("section", { class: "run-table stack tight", "aria-label": `Table ${table.name}` }, el("div", { class: "row" }, el("h3", {}, table.name), filter, said, el("span", { class: "grow" }), back, next, downloads), place);
  const page = (by) => {
    view.offset = Math.max(0, view.offset + by * PAGE);
    ask();
  };
  filter.addEventListener("input", later(() => {
    view.filter = filter.value;
    view.offset = 0;
    ask();
  }, 200));

  async function ask() {
    const mine = (view.asked += 1);
    try {
      const { body } = await get("/api/table", { run: run.id, table: table.name, sort: view.sort, desc: view.desc ? 1 : 0, filter: view.filter || null, offset: view.offset, limit: PAGE });
      // An answer that comes late is to no question any more.
      if (mine === view.asked) show(body);
    } catch (e) {
      if (mine === view.asked) showError(e, box);
    }
  }

  function show({ columns, rows, total, shown }) {
    const last = Math.min(shown, view.offset + rows.length);
    const filtered = shown < total ? ` (${total} without the filter)` : "";
    said.textContent = rows.length ? `${view.offset + 1} to ${last} of ${shown} rows${filtered}` : `no rows${filtered}`;
    back.disabled = view.offset === 0;
    next.disabled = last >= shown;
    const focused = document.activeElement?.closest?.("th")?.dataset.column;
    const numeric = columns.map((_, i) => rows.every((r) => r[i] === "" || Number.isFinite(Number(r[i]))) && rows.some((r) => r[i] !== ""));
    place.replaceChildren(el("table", {},
      el("thead", {}, el("tr", {}, ...columns.map((c, i) => heading(c, numeric[i])))),
      el("tbody", {}, ...rows.map((r) => el("tr", {}, ...r.map((cell, i) => el("td", { class: numeric[i] ? "num" : null }, cell)))))));
    if (focused) [...place.querySelectorAll("th")].find((th) => th.dataset.column === focused)?.firstChild.focus();
  }

  function heading(column, numeric) {
    const order = view.sort === column ? (view.desc ? "descending" : "ascending") : "none";
    const sign = { ascending: " ▲", descending: " ▼", none: "" }[order];
    const sort = () => {
      // Once up, once down, then as the file has it.
      if (view.sort !== column) [view.sort, view.desc] = [column, false];
      else if (!view.desc) view.desc = true;
      else [view.sort, view.desc] = [null, false];
      view.offset = 0;
      ask();
    };
    return el("th", { scope: "col", "aria-sort": order, class: numeric ? "num" : null, data: { column } }, el("button", { type: "button", onclick: sort }, column + sign));
  }

  ask();
  return box;
}
