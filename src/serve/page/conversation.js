// The conversation of the Chat tab: what was said, by whom, how replies are drawn. It outlives a reload of the page.

import { emit, keep, kept, state } from "./state.js";

/**
 * `messages` are `{role: "user" | "assistant", content, speaker?, adapter?, system?, seed?, command?, ended?, tokens?, reads}`; `reads` are projections by
 * vector (see tokens.js) with `mean`, one per site. Reads are not kept over a reload: they are measured again.
 */
export const talk = {
  id: "",
  messages: [],
  system: "",
  persona: "",
  adapter: "",
  speakers: [],
  me: "",
  them: "",
  temperature: 1,
  topP: 1,
  maxTokens: 64,
  seed: 0,
};

/** An empty conversation under a name of its own (the name is part of the random numbers' address). */
export function startAnew() {
  talk.id = `c-${[...crypto.getRandomValues(new Uint8Array(4))].map((b) => b.toString(16).padStart(2, "0")).join("")}`;
  talk.messages = [];
  changed();
}

/** What was kept, or a fresh one with the server's defaults. */
export function restore() {
  const { defaults, limits } = state.about;
  Object.assign(talk, { temperature: defaults.temperature, topP: defaults.top_p, maxTokens: Math.min(defaults.max_new_tokens, limits.max_new_tokens) });
  const old = kept("talk", (text) => JSON.parse(text));
  if (old?.id && Array.isArray(old.messages)) {
    Object.assign(talk, old);
    for (const message of talk.messages) message.reads = {};
    if (!state.about.adapters.includes(talk.adapter)) talk.adapter = "";
    emit("conversation");
  } else startAnew();
}

/** To be called after every change. */
export function changed() {
  save();
  emit("conversation");
}

/** Keeps the settings and the words. */
export function save() {
  const messages = talk.messages.filter((m) => !m.pending).map(({ reads, tokens, pending, ...rest }) => rest);
  keep("talk", JSON.stringify({ ...talk, messages }));
}

/** The messages as the server takes them, the system's first where there is one. */
export function sent(messages = talk.messages, system = talk.system) {
  const said = messages.filter((m) => !m.pending).map(({ role, content, speaker }) => ({ role, content, ...(speaker ? { speaker } : {}) }));
  return system.trim() ? [{ role: "system", content: system }, ...said] : said;
}

/**
 * Replies by what drew them, for reading them again: `[{adapter, system, own}]`, with the replies and what each answered in `own`. An adapter that
 * this server does not have reads nothing.
 */
export function origins(messages, wanted) {
  const found = new Map();
  messages.forEach((message, i) => {
    if (message.role !== "assistant" || message.pending || !wanted(message)) return;
    const [adapter, system] = [message.adapter ?? "", message.system ?? talk.system];
    if (adapter && !state.about.adapters.includes(adapter)) return;
    const key = JSON.stringify([adapter, system]);
    if (!found.has(key)) found.set(key, { adapter, system, own: new Set() });
    found.get(key).own.add(message);
    if (messages[i - 1]?.role === "user") found.get(key).own.add(messages[i - 1]);
  });
  return [...found.values()];
}

/** How far the server's numbers of messages are ahead of ours: one where a system text goes first. */
export const ahead = (system = talk.system) => (system.trim() ? 1 : 0);

/** Who speaks a message, in words. */
export function who(message) {
  if (message.speaker) return message.speaker;
  if (message.role === "user") return "You";
  return message.persona || "default assistant";
}

/** The vectors to read along with a reply: that of the colours first, then `also`, then those that were looked at before. */
export function readAlong(also = []) {
  const { vector } = state.lens;
  if (vector) seen = [vector, ...seen.filter((id) => id !== vector)];
  const known = [...new Set([...seen.slice(0, 1), ...also, ...seen.slice(1)])].filter((id) => state.vectors.some((v) => v.id === id));
  return known.slice(0, Math.min(Math.max(3, 1 + also.length), state.about.limits.read));
}

let seen = [];
