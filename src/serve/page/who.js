// Who answers: the default assistant, a card, a role of the map, own words, or several named speakers; and how replies are drawn.

import { get, post } from "./api.js";
import { save, talk } from "./conversation.js";
import { byId, el, field, options } from "./dom.js";
import { clearError, showError } from "./errors.js";
import { emit, on, state } from "./state.js";

let roles = [];
let cards = [];
const chooser = el("select", { id: "persona", onchange: choose });

/** The settings of the Chat tab, as an element. */
export function settings() {
  cards = [...state.about.cards];
  // On a small screen only the choice itself stands above the conversation.
  const rest = el("details", { open: matchMedia("(min-width: 60rem)").matches }, el("summary", {}, "System text, speakers, sampling"), ...persona(), speakers(), drawing());
  const box = el("section", { class: "settings", "aria-label": "Who answers, and how" }, field("Who answers", chooser), rest);
  fill();
  on("roles", (found) => {
    roles = found;
    fill();
  });
  on("persona", ({ name, system }) => take(`role:${name}`, system, name));
  return box;
}

function persona() {
  const system = el("textarea", { id: "system", rows: 4, placeholder: "No system text", oninput: (e) => own(e.target.value), spellcheck: "false" });
  system.value = talk.system;
  const toml = el("textarea", { rows: 5, "aria-label": "A persona card in TOML", placeholder: 'name = "Ariana"\ntraits = ["anxious", "poetic"]', spellcheck: "false" });
  const file = el("input", { type: "file", accept: ".toml,text/plain", "aria-label": "A card from a file" });
  file.addEventListener("change", async () => file.files[0] && (toml.value = await file.files[0].text()));
  const use = el("button", { type: "button", class: "small", onclick: () => pasted(toml) }, "Use this card");
  const paste = el("details", { class: "sub" }, el("summary", {}, "Paste or open a card"), toml, file, use);
  return [field("System text", system), paste];
}

function fill() {
  const group = (label, pairs) => (pairs.length ? el("optgroup", { label }, ...pairs.map(([value, words]) => el("option", { value }, words))) : null);
  const parts = [
    el("option", { value: "" }, "Default assistant"),
    el("option", { value: "own" }, "Own system text"),
    group("Cards", cards.map((c, i) => [`card:${i}`, c.name])),
    group("Roles of the map", (roles.length ? roles : talk.persona.startsWith("role:") ? [{ name: talk.persona.slice(5) }] : []).map((r) => [`role:${r.name}`, r.name])),
  ];
  chooser.replaceChildren(...parts.filter(Boolean));
  chooser.value = talk.persona;
  // A pasted card is gone after a reload; its text is still here.
  if (chooser.selectedIndex < 0) chooser.value = talk.system ? "own" : "";
}

async function choose(event) {
  const value = event.target.value;
  clearError();
  try {
    if (value.startsWith("card:")) take(value, cards[Number(value.slice(5))].system, cards[Number(value.slice(5))].name);
    else if (value.startsWith("role:")) {
      const name = value.slice(5);
      take(value, (await get("/api/space/role", { name })).body.system, name);
    } else take(value, value === "own" ? talk.system : "", value === "own" ? "own text" : "");
  } catch (e) {
    showError(e, byId("panel-chat"));
    fill();
  }
}

function take(value, system, name) {
  Object.assign(talk, { persona: value, system, personaName: name });
  byId("system").value = system;
  fill();
  save();
  emit("asked-of");
}

function own(text) {
  talk.system = text;
  if (!text.trim()) Object.assign(talk, { persona: "", personaName: "" });
  else if (talk.persona !== "own") Object.assign(talk, { persona: "own", personaName: "own text" });
  chooser.value = talk.persona;
  save();
}

async function pasted(toml) {
  clearError();
  try {
    const card = await post("/api/card", { toml: toml.value });
    cards.push(card);
    take(`card:${cards.length - 1}`, card.system, card.name);
  } catch (e) {
    showError(e, toml.parentElement);
  }
}

/** Questions to begin with: the card's own where it has some. */
export function suggestions() {
  const card = talk.persona.startsWith("card:") ? cards[Number(talk.persona.slice(5))] : null;
  return (card?.questions.length ? card.questions : state.about.questions).slice(0, 4);
}

function speakers() {
  const names = el("input", { type: "text", id: "speakers", placeholder: state.about.speakers.join(", ") || "Ariana, Bodek" });
  names.value = talk.speakers.join(", ");
  names.addEventListener("change", () => {
    talk.speakers = [...new Set(names.value.split(",").map((s) => s.trim()).filter(Boolean))];
    save();
    emit("speakers");
  });
  return field("Named speakers", names, "Two or more names: each message then has a speaker, and you choose who replies.");
}

function drawing() {
  const adapters = [["", "base model"], ...state.about.adapters.map((a) => [a, a])];
  const adapter = options(el("select", { id: "adapter", onchange: (e) => set("adapter", e.target.value) }), adapters, talk.adapter);
  const of = (key, id, attributes) => {
    const input = el("input", { type: "number", id, ...attributes, value: talk[key] });
    input.addEventListener("change", () => set(key, input.valueAsNumber));
    return input;
  };
  const { limits } = state.about;
  return el("div", { class: "grid-2" },
    adapters.length > 1 ? el("div", { class: "wide" }, field("Adapter", adapter)) : null,
    field("Temperature", of("temperature", "temperature", { min: 0, max: 5, step: 0.05 })),
    field("Top p", of("topP", "top-p", { min: 0.01, max: 1, step: 0.01 })),
    field("Tokens at most", of("maxTokens", "max-tokens", { min: 1, max: limits.max_new_tokens, step: 1 })),
    field("Seed", of("seed", "seed", { min: 0, step: 1 })));
}

function set(key, value) {
  talk[key] = value;
  save();
}
