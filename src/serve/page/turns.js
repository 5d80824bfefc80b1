// How messages are shown: who said it, its tokens, its mean, and how it ended.

import { who } from "./conversation.js";
import { byId, el, empty, number } from "./dom.js";
import { state } from "./state.js";
import { Tokens } from "./tokens.js";

const views = new WeakMap();

/** The view of a message: `node`, `tokens`, `note(words)` and `update()`, which gives the node back. One message keeps one view. */
export function viewOf(message) {
  if (!views.has(message)) views.set(message, turnView(message));
  return views.get(message);
}

/** What stands there before anything was said. */
export const opening = () =>
  empty("Every token of a reply is tinted by its projection on the chosen vector; hover or focus one for the number. The chart shows whether replies stay where the default assistant's are.");

function turnView(message) {
  const tokens = new Tokens(message.role === "user" ? "Your message" : "Reply");
  tokens.reads = message.reads;
  tokens.texts = message.content ? [message.content] : [];
  const [name, meta, note] = [el("strong", {}), el("span", { class: "quiet" }), el("span", { class: "quiet" })];
  const warnings = el("p", { class: "warning", hidden: true });
  const node = el("article", { class: "turn", data: { role: message.role } }, el("header", {}, name, meta, note), tokens.node, warnings);
  return {
    tokens,
    note: (words) => (note.textContent = words),
    update() {
      tokens.reads = message.reads;
      tokens.colours = message.role === "assistant" || byId("colour-prompt").checked;
      tokens.paint();
      name.textContent = who(message);
      meta.textContent = [message.adapter, meanWords(message), ending(message)].filter(Boolean).join(" · ");
      warnings.textContent = (message.warnings ?? []).join(" ");
      warnings.hidden = !warnings.textContent;
      node.classList.toggle("pending", Boolean(message.pending));
      return node;
    },
  };
}

const ending = (message) => ({ length: "ended at the limit of tokens", stopped: "stopped" })[message.ended] ?? "";

/** The mean of a reply on what colours the tokens; null where that is not known. */
export function meanOf(message) {
  const read = message.reads[state.lens.vector];
  return read?.mean?.[read.sites.indexOf(state.lens.site)] ?? null;
}

function meanWords(message) {
  const mean = message.role === "assistant" ? meanOf(message) : null;
  return mean === null ? "" : `mean ${number(mean, 4)}`;
}
