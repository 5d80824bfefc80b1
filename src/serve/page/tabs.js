// The five parts of the page: tabs with one stop for the keyboard, the part in the address so that a reload stays there.

import { byId } from "./dom.js";
import { emit } from "./state.js";

const NAMES = ["chat", "steer", "map", "compare", "results"];
// Where tokens are shown, what colours them is shown too.
const COLOURED = new Set(["chat", "steer", "compare"]);

/** Makes the tabs work and opens the one in the address. */
export function start() {
  for (const name of NAMES) {
    const tab = byId(`tab-${name}`);
    tab.addEventListener("click", () => open(name));
    tab.addEventListener("keydown", (event) => move(event, name));
  }
  window.addEventListener("hashchange", () => open(location.hash.slice(1)));
  open(NAMES.includes(location.hash.slice(1)) ? location.hash.slice(1) : NAMES[0]);
}

/** Shows a part. */
export function open(name) {
  if (!NAMES.includes(name)) return;
  for (const other of NAMES) {
    const chosen = other === name;
    const tab = byId(`tab-${other}`);
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    byId(`panel-${other}`).hidden = !chosen;
  }
  byId("lens").hidden = !COLOURED.has(name);
  byId("colour-prompt").parentElement.hidden = name !== "chat";
  if (location.hash.slice(1) !== name) history.replaceState(null, "", `#${name}`);
  emit("tab", name);
}

function move(event, name) {
  const at = NAMES.indexOf(name);
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: NAMES.length - 1 }[event.key];
  if (to === undefined) return;
  const next = NAMES[(to + NAMES.length) % NAMES.length];
  open(next);
  byId(`tab-${next}`).focus();
  event.preventDefault();
}
