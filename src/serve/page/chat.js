// The Chat tab: the conversation, the composer, and beside them where it has drifted.

import { post, postForFile, stream } from "./api.js";
import { ahead, changed, origins, readAlong, restore, save, sent, startAnew, talk, who } from "./conversation.js";
import { announce, byId, command, download, el, later, numberIn, options, svg } from "./dom.js";
import { driftChart, driftNote } from "./drift.js";
import { clearError, showError } from "./errors.js";
import { follow } from "./follow.js";
import { means, readingOf } from "./reading.js";
import { emit, on, profileAt, state, vector } from "./state.js";
import { meanOf, opening, viewOf } from "./turns.js";
import { settings, suggestions } from "./who.js";

let running = null;
let drift = null;

/** Builds the tab and brings back the conversation. */
export function start() {
  restore();
  byId("panel-chat").append(settings(), talking(), beside());
  for (const name of ["lens", "profile"]) on(name, chart);
  on("lens", measure);
  on("conversation", show);
  on("speakers", composerSpeakers);
  on("asked-of", show);
  byId("colour-prompt").addEventListener("change", show);
  composerSpeakers();
  show();
  measure();
}

function talking() {
  const message = el("textarea", { id: "message", rows: 2, placeholder: "Say something. Enter sends, Shift+Enter begins a line.", "aria-label": "Message" });
  message.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  });
  const inline = (words, id, key) => el("label", { class: "field inline" }, words, el("select", { id, onchange: (e) => said(key, e) }));
  const plain = (id, words, f) => el("button", { type: "button", id, class: "plain small", onclick: f }, words);
  return el("section", { class: "talk", "aria-label": "Conversation" },
    el("div", { id: "turns", class: "turns", tabindex: "0", role: "log", "aria-live": "off", "aria-label": "What was said" }),
    el("form", { class: "composer", onsubmit: (e) => (e.preventDefault(), send()) },
      el("div", { id: "suggestions", class: "chips" }),
      el("div", { id: "as", class: "row", hidden: true }, inline("I am ", "speak-as", "me"), inline("reply by ", "reply-as", "them")),
      el("div", { class: "say" },
        message,
        el("button", { id: "send", class: "primary" }, "Send"),
        el("button", { type: "button", id: "stop", hidden: true, onclick: stop }, "Stop"))),
    el("div", { class: "row actions" },
      plain("regenerate", "Regenerate", regenerate),
      plain("edit-last", "Edit last", editLast),
      plain("delete-last", "Delete last", () => (dropLast(), changed())),
      el("span", { class: "grow" }),
      plain("export", "Export JSONL", exportAll),
      plain("new", "New conversation", () => (stop(), startAnew()))));
}

function beside() {
  const chartElement = svg("svg", { id: "drift-chart", class: "chart", role: "group", "aria-label": "Projection of each reply, by turn" });
  const host = el("div", { class: "chart-host" }, chartElement);
  drift = driftChart(host, chartElement);
  return el("aside", { class: "side", "aria-label": "Drift" },
    el("h2", {}, "Drift"),
    host,
    el("p", { id: "drift-note", class: "note", "aria-live": "polite" }),
    el("h2", {}, "The same from the command line"),
    el("div", { id: "command" }));
}

function said(key, event) {
  talk[key] = event.target.value;
  save();
}

function composerSpeakers() {
  const several = talk.speakers.length > 1;
  byId("as").hidden = !several;
  if (!several) return;
  const names = talk.speakers.map((s) => [s, s]);
  talk.me = options(byId("speak-as"), names, talk.me || talk.speakers[0]).value;
  talk.them = options(byId("reply-as"), names, talk.them || talk.speakers[1]).value;
  if (talk.me === talk.them && names.length > 1) talk.them = byId("reply-as").value = talk.speakers.find((s) => s !== talk.me);
}

// ---------------------------------------------------------------- sending

async function send() {
  const box = byId("message");
  const content = box.value.trim();
  if (running || !content || !drawable()) return;
  const several = talk.speakers.length > 1;
  talk.messages.push({ role: "user", content, ...(several ? { speaker: talk.me } : {}), reads: {} });
  box.value = "";
  await answer();
}

async function regenerate() {
  if (running || talk.messages.at(-1)?.role !== "assistant" || !drawable()) return;
  const old = talk.messages.pop();
  // The same seed would draw the same reply: the stream is keyed by seed, conversation, turn and step.
  talk.seed += 1;
  byId("seed").value = talk.seed;
  await answer(old);
}

/** Whether the numbers by which a reply is drawn are numbers; says so where not. */
function drawable() {
  try {
    talk.temperature = numberIn(byId("temperature"), "Temperature");
    talk.topP = numberIn(byId("top-p"), "Top p");
    talk.maxTokens = numberIn(byId("max-tokens"), "Tokens at most");
    talk.seed = numberIn(byId("seed"), "Seed");
    return true;
  } catch (e) {
    showError(e, byId("panel-chat").querySelector(".composer"));
    return false;
  }
}

/** Draws a reply to what has been said; `old` is put back where nothing comes. */
async function answer(old) {
  clearError();
  const several = talk.speakers.length > 1;
  const message = { role: "assistant", content: "", pending: true, reads: {}, seed: talk.seed, adapter: talk.adapter, system: talk.system, persona: talk.personaName ?? "", ...(several ? { speaker: talk.them } : {}) };
  const messages = sent();
  const shift = ahead();
  talk.messages.push(message);
  running = new AbortController();
  changed();
  emit("busy");
  const view = viewOf(message);
  const ask = { conversation: talk.id, seed: talk.seed, messages, reply_as: several ? talk.them : null, max_new_tokens: talk.maxTokens, temperature: talk.temperature, top_p: talk.topP, read: readAlong(), arms: [{ name: "reply", adapter: talk.adapter || null, edits: [] }] };
  let begun = null;
  let fault = null;
  const tell = {
    start: (data) => {
      begun = data;
      message.command = data.arms[0].command;
      emit("busy");
      message.warnings = data.warnings ?? [];
      if (data.queued) view.note(`${data.queued} waiting before this one`);
    },
    prompt: (data) => readPrompt(begun, data.z, shift),
    token: (data) => {
      view.tokens.push(data.text);
      if (data.i === 0) view.note("");
      follow(false, running);
    },
    z: (data) => Object.entries(data.z).forEach(([id, values]) => view.tokens.put(id, begun.sites[id], data.i, values)),
    done: (data) => {
      Object.assign(message, { content: data.text, tokens: data.tokens, ended: data.ended });
      for (const [id, mean] of Object.entries(data.mean)) if (message.reads[id]) message.reads[id].mean = mean;
    },
    error: (data) => {
      fault = Object.assign(new Error(data.error), { hint: data.hint });
    },
  };
  message.reads = view.tokens.reads;
  try {
    await stream("/api/reply", ask, (name, data) => tell[name]?.(data), running.signal);
  } catch (e) {
    if (e.name !== "AbortError") fault = e;
  }
  running = null;
  finish(message, view, fault, old);
}

function finish(message, view, fault, old) {
  delete message.pending;
  // It may be that another conversation was begun meanwhile.
  if (talk.messages.includes(message)) {
    if (!message.ended) Object.assign(message, { content: view.tokens.texts.join(""), ended: "stopped" });
    for (const read of Object.values(message.reads)) read.mean ??= means(read.rows, read.sites);
    if (!message.content && message.ended === "stop" && !fault) fault = Object.assign(new Error("The reply is empty."), { hint: "Say something else, or draw another one with another seed." });
    if (!message.content) talk.messages.splice(talk.messages.indexOf(message), 1, ...(old ? [old] : []));
    else announce(`${who(message)}: ${message.content}`);
  }
  changed();
  emit("busy");
  if (fault) showError(fault, byId("panel-chat").querySelector(".composer"));
  // What was not answered goes back to where it can be changed.
  if (talk.messages.at(-1)?.role === "user" && !byId("message").value) byId("message").value = talk.messages.pop().content;
  changed();
  measure();
}

function readPrompt(begun, z, shift) {
  talk.messages.forEach((message, i) => {
    if (message.role !== "user") return;
    for (const [id, values] of Object.entries(z)) message.reads[id] ??= readingOf(begun.prompt, values, begun.sites[id], i + shift) ?? undefined;
    viewOf(message).tokens.paint();
  });
}

function stop() {
  running?.abort();
}

function editLast() {
  const text = dropLast();
  if (text) byId("message").value = text;
  changed();
  byId("message").focus();
}

/** Takes away the last reply and what it answered; gives back the latter. */
function dropLast() {
  if (running) stop();
  talk.messages = talk.messages.filter((m) => !m.pending);
  if (talk.messages.at(-1)?.role === "assistant") talk.messages.pop();
  return talk.messages.at(-1)?.role === "user" ? talk.messages.pop().content : "";
}

async function exportAll() {
  clearError();
  try {
    download(`${talk.id}.jsonl`, await postForFile("/api/export", { id: talk.id, messages: sent() }));
  } catch (e) {
    showError(e, byId("panel-chat").querySelector(".composer"));
  }
}

// ---------------------------------------------------------------- measuring after the fact

const measure = later(measureNow, 60);

/** Where the chosen vector was not read along, the conversation is read again, as `capture` would. */
async function measureNow() {
  const id = state.lens.vector;
  if (!id || running) return;
  const messages = [...talk.messages];
  const unread = origins(messages, (m) => !m.reads[id]);
  if (!unread.length) return;
  emit("busy");
  try {
    for (const { adapter, system, own } of unread) {
      const shift = ahead(system);
      const found = await post("/api/measure", { messages: sent(messages, system), adapter: adapter || null, read: [id] });
      messages.forEach((message, i) => {
        const read = own.has(message) ? readingOf(found.tokens, found.z[id], found.sites[id], i + shift) : null;
        if (!read) return;
        const turn = found.turns.find((t) => t.message === i + shift);
        message.reads[id] ??= { ...read, mean: turn?.mean[id] };
        viewOf(message).tokens.paint();
      });
    }
    chart();
    show();
  } catch (e) {
    showError(e, byId("panel-chat").querySelector(".composer"));
  }
}

// ---------------------------------------------------------------- showing

function show() {
  const place = byId("turns");
  const nodes = talk.messages.map((message) => viewOf(message).update());
  const others = nodes.length !== place.children.length || nodes.some((n, i) => n !== place.children[i]);
  if (others) place.replaceChildren(...(nodes.length ? nodes : [opening()]));
  const idle = !running;
  byId("send").hidden = !idle;
  byId("stop").hidden = idle;
  byId("regenerate").disabled = !idle || talk.messages.at(-1)?.role !== "assistant";
  for (const id of ["edit-last", "delete-last", "export", "new"]) byId(id).disabled = !talk.messages.length || (id !== "new" && !idle);
  const chips = talk.messages.length ? [] : suggestions();
  byId("suggestions").replaceChildren(...chips.map((q) => el("button", { type: "button", class: "chip", onclick: () => ((byId("message").value = q), send()) }, q)));
  const line = talk.messages.findLast((m) => m.command)?.command;
  byId("command").replaceChildren(line ? command(line) : el("p", { class: "quiet" }, "After the first reply: the command that draws the same tokens."));
  chart();
  if (others) follow(true, running);
}

function chart() {
  const { vector: id, site } = state.lens;
  const band = profileAt(id, site)?.turn ?? null;
  const points = talk.messages.filter((m) => m.role === "assistant" && !m.pending).map((m, i) => ({ turn: i + 1, value: meanOf(m), who: who(m) }));
  drift.update(points, band, vector(id)?.name ?? "projection");
  const words = driftNote(points, band);
  const note = byId("drift-note");
  if (note.textContent !== words) note.textContent = words;
  note.classList.toggle("outside", /below|above/.test(words));
  for (const message of talk.messages) viewOf(message).update();
}
