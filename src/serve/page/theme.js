// Light, dark, or as the system has it; the choice is remembered (boot.js reads it before anything is painted).

import { byId } from "./dom.js";

const NEXT = { system: "light", light: "dark", dark: "system" };

/** Makes the button work. */
export function start() {
  byId("theme").addEventListener("click", () => choose(NEXT[current()]));
  show();
}

const current = () => document.documentElement.dataset.theme ?? "system";

function choose(theme) {
  const root = document.documentElement;
  if (theme === "system") delete root.dataset.theme;
  else root.dataset.theme = theme;
  try {
    if (theme === "system") localStorage.removeItem("personascope.theme");
    else localStorage.setItem("personascope.theme", theme);
  } catch {
    // Forbidden: the choice lasts as long as the page.
  }
  show();
}

function show() {
  const now = current();
  byId("theme").textContent = { system: "Theme: auto", light: "Theme: light", dark: "Theme: dark" }[now];
}
