// One place for what went wrong, moved to where it was asked for: the words of the server and its hint.

import { byId, el } from "./dom.js";

// Held on to: whoever fills a part anew may throw out the box with what stood there.
const box = byId("error");

/** Shows an error at the head of `place` (an element), or under the tabs. */
export function showError(error, place) {
  if (error?.name === "AbortError") return;
  const close = el("button", { type: "button", class: "plain small", onclick: clearError, "aria-label": "Dismiss" }, "×");
  box.replaceChildren(el("div", {}, el("strong", {}, error.message ?? String(error)), error.hint ? el("span", {}, error.hint) : null), close);
  (place ?? byId("main").parentElement).insertBefore(box, place ? place.firstChild : byId("main"));
  box.hidden = false;
}

/** Something to know that is no error: under the tabs, until it is dismissed. */
export function showNotice(words) {
  const close = el("button", { type: "button", class: "plain small", "aria-label": "Dismiss", onclick: () => notice.remove() }, "×");
  const notice = el("div", { class: "notice", role: "status" }, el("div", {}, ...words.map((w) => el("p", {}, w))), close);
  byId("main").before(notice);
}

/** Takes it away: something was asked anew. */
export function clearError() {
  box.hidden = true;
  box.replaceChildren();
}
