// One small window that says what is under the pointer or the focus: exact values of tokens, and of whatever has a `data-tip`.

import { ordinal } from "./colour.js";
import { el, number } from "./dom.js";
import { reading } from "./tokens.js";
import { vector } from "./state.js";

const tip = el("div", { id: "tip", role: "tooltip", hidden: true });
document.body.append(tip);

let owner = null;

for (const name of ["pointerover", "focusin"]) document.addEventListener(name, (event) => look(event.target));
for (const name of ["pointerout", "focusout"]) document.addEventListener(name, () => hide());
document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
// What has the focus is shown where it has come to lie.
document.addEventListener("scroll", () => (owner && owner === document.activeElement ? look(owner) : hide()), true);

function look(target) {
  const element = target.closest?.(".token, [data-tip]");
  if (!element) return;
  const lines = element.classList.contains("token") ? tokenLines(element) : element.dataset.tip.split("\n");
  if (lines) show(element, lines);
}

/** The words for a token: its value, where that lies among the default's tokens, and what larger means. */
function tokenLines(element) {
  const found = reading(element);
  if (!found) return null;
  const shown = found.text.replace(/\n/g, "⏎").replace(/^ | $/g, "␣");
  const place = found.percentile === null ? "the default is being measured" : `${among(found.percentile)} of the default's tokens`;
  const of = vector(found.vector);
  return [`“${shown}”  ${number(found.z)}`, place, found.site, of ? `larger: ${of.positive}` : ""];
}

function among(percent) {
  if (percent <= 0) return "below all";
  if (percent >= 100) return "above all";
  return `${ordinal(percent)} percentile`;
}

function show(element, [first, ...rest]) {
  hide();
  owner = element;
  owner.setAttribute("aria-describedby", "tip");
  tip.replaceChildren(el("strong", {}, first), ...rest.filter(Boolean).map((line) => el("span", {}, line)));
  tip.hidden = false;
  // A token may be broken over two lines: its first box is where it begins.
  const box = element.getClientRects()[0] ?? element.getBoundingClientRect();
  const { width, height } = tip.getBoundingClientRect();
  const left = Math.max(8, Math.min(box.left, document.documentElement.clientWidth - width - 8));
  const above = box.top - height - 8;
  tip.style.left = `${left}px`;
  tip.style.top = `${above > 4 ? above : box.bottom + 8}px`;
}

function hide() {
  owner?.removeAttribute("aria-describedby");
  owner = null;
  tip.hidden = true;
}
