// Elements from plain calls. Everything that comes from the server goes in as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

/** An HTML element: `el("button", {class: "plain", onclick: f}, "Stop")`. */
export const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);

/** The same in SVG. */
export const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "data") Object.assign(node.dataset, value);
    else if (key === "value") node.value = value;
    else node.setAttribute(key, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) if (child !== undefined && child !== null && child !== false) node.append(child);
  return node;
}

/** The options of a select, `[value, words]` each; keeps what was chosen where it is still there, else takes `chosen`. */
export function options(select, pairs, chosen) {
  const kept = [select.options.length ? select.value : undefined, chosen].find((v) => v !== undefined && v !== null && pairs.some(([value]) => value === v));
  select.replaceChildren(...pairs.map(([value, words]) => el("option", { value }, words)));
  if (kept !== undefined) select.value = kept;
  return select;
}

let made = 0;

/** A control with its label around it. */
export function field(words, control, note) {
  const hint = note ? el("small", { id: `note-${(made += 1)}` }, note) : null;
  if (hint) control.setAttribute("aria-describedby", hint.id);
  return el("label", { class: "field" }, el("span", {}, words), control, hint);
}

/** A command line with a button that copies it. */
export function command(line, words = "Command line") {
  const button = el("button", { type: "button", class: "plain small" }, "Copy");
  button.addEventListener("click", () => copy(line, button));
  return el("div", { class: "command", "aria-label": words, role: "group" }, el("code", { tabindex: "0" }, line), button);
}

/** The commands of all arms of a request, folded. */
export const commands = (start) => el("details", { class: "sub" }, el("summary", {}, "The same from the command line"), ...start.arms.map((arm) => el("div", {}, el("h3", {}, arm.name), command(arm.command, `Command line of ${arm.name}`))));

async function copy(line, button) {
  try {
    await navigator.clipboard.writeText(line);
    button.textContent = "Copied";
  } catch {
    // No clipboard (not a secure place, or forbidden): leave it selected for the keyboard.
    getSelection().selectAllChildren(button.previousElementSibling);
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = "Copy"), 1500);
}

/** The number in an input; throws in words where there is none, or one that its bounds refuse. */
export function numberIn(input, words) {
  const x = input.valueAsNumber;
  const { rangeUnderflow, rangeOverflow, stepMismatch } = input.validity;
  // Steps of a fraction are for the arrows; steps of one mean a whole number.
  if (Number.isFinite(x) && !rangeUnderflow && !rangeOverflow && !(stepMismatch && input.step === "1")) return x;
  const bounds = [input.min !== "" ? `from ${input.min}` : "", input.max !== "" ? `to ${input.max}` : ""].filter(Boolean).join(" ");
  throw Object.assign(new Error(`${words}: ${input.validationMessage || "write a number."}`), { hint: bounds ? `Possible: ${bounds}.` : "" });
}

/** What stands where there is nothing yet. */
export const empty = (...children) => el("p", { class: "empty" }, ...children);

/** A number for reading: four digits, a real minus, nothing for what is missing. */
export function number(x, digits = 4) {
  if (x === null || x === undefined || !Number.isFinite(x)) return "–";
  const size = Math.abs(x);
  const text = size !== 0 && (size < 1e-3 || size >= 1e6) ? x.toExponential(digits - 1) : trim(x.toPrecision(digits));
  return text.replace(/-/g, "−");
}

function trim(text) {
  return text.includes("e") ? String(Number(text)) : text;
}

/** `f` once, when it has been quiet for a while. */
export function later(f, ms) {
  let timer = 0;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => f(...args), ms);
  };
}

/** Says something to those who listen instead of look. */
export function announce(words) {
  byId("announce").textContent = words;
}

/** A file for the one who sits here. */
export function download(name, blob) {
  const link = el("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
