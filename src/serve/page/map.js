// The Map tab: persona space with its roles, traits and axis, the running conversation on it, and adapters beside the base.

import { get, post } from "./api.js";
import { drawn } from "./chart.js";
import { origins, sent, talk } from "./conversation.js";
import { byId, command, el, empty, field, number, options, svg } from "./dom.js";
import { clearError, showError } from "./errors.js";
import { saver } from "./saver.js";
import { axisWords, scatter } from "./scatter.js";
import { adapters, space } from "./space.js";
import { emit, on, state } from "./state.js";
import { open } from "./tabs.js";

// On a small screen arrows and points would lie on each other.
const roomy = matchMedia("(min-width: 40rem)").matches;
const view = { space: null, x: "PC1", y: "assistant_axis", traits: roomy, model: null, path: [], found: null, chosen: null, stop: null, choose };
let again = () => {};
let asked = null;
let here = false;

/** Builds the tab; persona space is asked for when it is first opened. */
export function start() {
  const select = (id, f) => el("select", { id, onchange: (e) => f(e.target.value) });
  const chart = svg("svg", { id: "map-chart", class: "chart map", role: "group", "aria-label": "Persona space" });
  chart.addEventListener("keydown", move);
  const host = el("div", { class: "chart-host" }, chart);
  again = drawn(host, (width) => {
    if (view.space) scatter(chart, width, view);
  });
  byId("panel-map").append(
    el("section", { class: "wide-side", "aria-label": "Persona space" },
      el("div", { class: "row tools" },
        field("Site", select("map-site", load)),
        field("Across", select("map-x", (a) => ((view.x = a), renew()))),
        field("Up", select("map-y", (a) => ((view.y = a), renew()))),
        field("Model", select("map-model", (a) => ((view.model = view.space?.models.find((m) => m.adapter === a) ?? null), renew(), view.chosen && choose(view.chosen)))),
        field("Find a role", el("input", { type: "search", id: "map-search", list: "map-names", oninput: (e) => find(e.target.value), onchange: (e) => view.space?.roles.some((r) => r.name === e.target.value) && choose(e.target.value) })),
        el("datalist", { id: "map-names" }),
        el("label", { class: "check" }, el("input", { type: "checkbox", id: "map-traits", checked: roomy, onchange: (e) => ((view.traits = e.target.checked), renew()) }), " traits as arrows")),
      el("p", { id: "map-wait", class: "note", role: "status" }),
      host,
      el("div", { id: "map-key", class: "key" }),
      el("p", { id: "map-note", class: "note", "aria-live": "polite" }),
      el("div", { id: "map-warnings" }),
      el("details", { class: "sub" }, el("summary", {}, "The same as a table"), el("div", { id: "map-table", class: "scroll tall", tabindex: "0", role: "region", "aria-label": "Roles" })),
      el("div", { id: "map-command" })),
    el("aside", { id: "role-card", class: "side", "aria-label": "Role", "aria-live": "polite" }, empty("Choose a role: its system text, its prompts and what it says will stand here.")));
  on("tab", (name) => {
    here = name === "map";
    if (here && !view.space) load(null);
    else if (here) walk();
  });
  on("conversation", () => here && walk());
}

async function load(site) {
  asked?.abort();
  asked = new AbortController();
  clearError();
  try {
    view.space = await space(site, (words) => (byId("map-wait").textContent = words), asked.signal);
  } catch (e) {
    byId("map-wait").textContent = "";
    return showError(e, byId("panel-map"));
  }
  byId("map-wait").textContent = "";
  const { axes, roles, sites, command: line } = view.space;
  options(byId("map-site"), sites.map((s) => [s, s]), view.space.site);
  const words = axes.map((a) => [a, axisWords(view.space, a, "")]);
  view.x = options(byId("map-x"), words, axes.includes(view.x) ? view.x : axes[0]).value;
  view.y = options(byId("map-y"), words, axes.includes(view.y) ? view.y : axes.at(-1)).value;
  choices();
  byId("map-names").replaceChildren(...roles.map((r) => el("option", { value: r.name })));
  byId("map-command").replaceChildren(el("h3", {}, "The whole analysis from the command line"), command(line));
  view.stop ??= roles[0]?.name ?? null;
  view.path = [];
  renew();
  walk();
  if (view.chosen) choose(view.chosen);
  const { signal } = asked;
  adapters(view.space, (now) => {
    view.space = now;
    choices();
    renew();
  }, signal).catch((e) => showError(e, byId("panel-map")));
}

/** The models that the map has. */
function choices() {
  const { models } = view.space;
  options(byId("map-model"), [["", "base"], ...models.map((m) => [m.adapter, `base → ${m.adapter}`])]);
  view.model = models.find((m) => m.adapter === byId("map-model").value) ?? null;
}

function renew() {
  if (!view.space) return;
  again();
  key();
  note();
  table();
  byId("map-warnings").replaceChildren(...view.space.warnings.map((w) => el("p", { class: "warning" }, w)));
}

function key() {
  const item = (kind, words) => el("span", { class: "item" }, el("i", { class: `mark ${kind}` }), words);
  byId("map-key").replaceChildren(...[
    item("role", "a role"), item("default", "the default assistant"), view.traits && view.space.traits.length ? item("arrow", "a trait: the displacement of those who have it") : null, view.path.length ? item("way-mark", "the conversation, by turn") : null, view.model ? item("moved", `the same roles through ${view.model.adapter}`) : null,
  ].filter(Boolean));
}

/** Where the last reply is, in words. */
function note() {
  const last = view.path.at(-1);
  const kept = view.space.kept;
  const of = kept ? `, by distance in ${kept.components} components with ${(kept.share * 100).toFixed(0)} % of the variance` : "";
  const words = last?.nearest.length ? `Turn ${last.turn + 1} of the conversation is nearest to ${last.nearest.slice(0, 3).map((n) => `${n.name} (${number(n.distance, 3)})`).join(", ")}${of}.` : "";
  if (byId("map-note").textContent !== words) byId("map-note").textContent = words;
}

function table() {
  const { roles, default: own } = view.space;
  const shifted = new Map((view.model?.roles ?? []).map((r) => [r.name, r]));
  const head = ["role", view.x, view.y, ...(view.model ? [`shift in ${view.x}`, `shift in ${view.y}`] : []), "nearest"];
  const rows = [own, ...roles].map((r) => {
    const to = r === own ? view.model?.default : shifted.get(r.name);
    const shift = view.model ? [view.x, view.y].map((a) => (to ? number(to.at[a] - r.at[a]) : "–")) : [];
    const name = r === own ? r.name : el("button", { type: "button", class: "link", onclick: () => choose(r.name) }, r.name);
    return [name, number(r.at[view.x]), number(r.at[view.y]), ...shift, (r.neighbours ?? []).slice(0, 3).map((n) => n.name).join(", ")];
  });
  byId("map-table").replaceChildren(el("table", {}, el("thead", {}, el("tr", {}, ...head.map((h) => el("th", { scope: "col" }, h)))), el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((c) => el("td", {}, c)))))));
}

function find(text) {
  const words = text.trim().toLowerCase();
  view.found = words ? (view.space?.roles.find((r) => r.name.toLowerCase().startsWith(words))?.name ?? null) : null;
  again();
}

/** Arrows go to the nearest role in that direction: the points are one stop for the keyboard. */
function move(event) {
  const way = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!way || !event.target.classList.contains("role-point")) return;
  event.preventDefault();
  const at = (c) => [c.cx.baseVal.value, c.cy.baseVal.value];
  const [x, y] = at(event.target);
  let best = null;
  for (const dot of event.currentTarget.querySelectorAll(".role-point")) {
    const [dx, dy] = [at(dot)[0] - x, at(dot)[1] - y];
    const along = dx * way[0] + dy * way[1];
    const cost = Math.hypot(dx, dy) + 2 * Math.abs(dx * way[1] - dy * way[0]);
    if (along > 0.5 && (!best || cost < best.cost)) best = { dot, cost };
  }
  if (!best) return;
  event.target.setAttribute("tabindex", "-1");
  best.dot.setAttribute("tabindex", "0");
  view.stop = best.dot.dataset.name;
  best.dot.focus();
}

// ---------------------------------------------------------------- a role

async function choose(name) {
  view.chosen = name;
  view.stop = name;
  const focused = document.activeElement?.classList?.contains("role-point");
  again();
  if (focused) [...document.querySelectorAll(".role-point")].find((p) => p.dataset.name === name)?.focus();
  const card = byId("role-card");
  card.replaceChildren(el("h2", {}, name), el("p", { class: "quiet" }, "Asking …"));
  const of = view.model?.adapter ?? null;
  // Another role or model may have been chosen meanwhile.
  const wanted = () => view.chosen === name && (view.model?.adapter ?? null) === of;
  try {
    const { body } = await get("/api/space/role", { name, adapter: of });
    if (wanted()) card.replaceChildren(...roleCard(body));
  } catch (e) {
    if (!wanted()) return;
    card.replaceChildren(el("h2", {}, name));
    showError(e, card);
  }
}

function roleCard(role) {
  const talkTo = el("button", { type: "button", class: "primary", id: "talk-to", onclick: () => {
    emit("persona", role);
    open("chat");
    byId("message").focus();
  } }, "Talk to it");
  const found = view.space.roles.find((r) => r.name === role.name);
  return [
    el("h2", {}, role.name),
    el("div", { class: "row" }, talkTo),
    saver("Save the direction to here", () => ({ role: role.name, against: null }), "role-save"),
    el("h3", {}, "System text"), el("p", { class: "said" }, role.system || "none"),
    el("h3", {}, view.model ? `What it says, through ${view.model.adapter}` : "What it says"),
    role.replies.length ? replies(role.replies.slice(0, 3)) : el("p", { class: "quiet" }, "No reply was kept."),
    role.replies.length > 3 ? el("details", { class: "sub" }, el("summary", {}, `${role.replies.length - 3} more replies`), replies(role.replies.slice(3))) : null,
    el("details", { class: "sub" }, el("summary", {}, `The ${role.prompts.length} prompts`), el("ul", {}, ...role.prompts.map((p) => el("li", {}, p)))),
    found?.neighbours.length ? el("h3", {}, "Nearest (cosine)") : null,
    found?.neighbours.length ? el("ul", { class: "plain-list" }, ...found.neighbours.map((n) => el("li", {}, el("button", { type: "button", class: "link", onclick: () => choose(n.name) }, n.name), ` ${number(n.cosine, 3)}`))) : null,
  ].filter(Boolean);
}

const replies = (some) => el("dl", { class: "replies" }, ...some.flatMap((r) => [el("dt", {}, r.question), el("dd", {}, r.reply)]));

// ---------------------------------------------------------------- the conversation's way

let walked = "";

async function walk() {
  const site = view.space?.site;
  const messages = [...talk.messages];
  const replies = messages.filter((m) => m.role === "assistant");
  if (!site) return;
  const now = JSON.stringify([site, messages.map((m) => [m.role, m.content, m.speaker, m.adapter, m.system])]);
  if (now === walked) return;
  if (!replies.length) {
    view.path = [];
    walked = now;
    return renew();
  }
  // A reply that is under way is not in it: it comes when it is done.
  if (messages.some((m) => m.pending)) return;
  walked = now;
  emit("busy");
  try {
    const path = [];
    for (const { adapter, system, own } of origins(messages, () => true)) {
      const { turns } = await post("/api/space/path", { messages: sent(messages, system), adapter: adapter || null, site });
      path.push(...turns.filter((t) => own.has(replies[t.turn])));
    }
    if (walked !== now) return;
    view.path = path.sort((a, b) => a.turn - b.turn);
    renew();
  } catch (e) {
    walked = "";
    showError(e, byId("panel-map"));
  }
}
