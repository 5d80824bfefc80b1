// The line that says what the model is doing. It asks once a second while something is under way, and not at all otherwise.

import { get } from "./api.js";
import { byId } from "./dom.js";
import { on } from "./state.js";

let timer = 0;
let asking = false;

/** Starts watching. */
export function start() {
  on("busy", () => !timer && look());
  on("tab", () => !timer && look());
  document.addEventListener("visibilitychange", () => !document.hidden && !timer && look());
  look();
}

async function look() {
  if (asking) return;
  asking = true;
  let again = false;
  try {
    const { body } = await get("/api/status");
    const { words, busy } = say(body);
    byId("status").textContent = words;
    again = busy;
  } catch (e) {
    byId("status").textContent = e.message;
    again = e.status === 0;
  }
  asking = false;
  clearTimeout(timer);
  timer = again && !document.hidden ? setTimeout(() => ((timer = 0), look()), 1000) : 0;
}

/** The words for a status, and whether something is under way. */
export function say({ active, queued, stage, done, of }) {
  const parts = [];
  if (stage) parts.push(of ? `${stage}: ${done} of ${of}` : stage);
  if (active) parts.push(`${active} ${active === 1 ? "reply" : "replies"} under way`);
  if (queued) parts.push(`${queued} waiting`);
  return { words: parts.join(" · ") || "idle", busy: parts.length > 0 };
}
