// Saving a direction into the given folder, with where it comes from.

import { post } from "./api.js";
import { el } from "./dom.js";
import { clearError, showError } from "./errors.js";
import { reloadVectors } from "./state.js";

/** A name and a button; `what()` says what is saved, as the server takes it. */
export function saver(words, what, id) {
  const name = el("input", { type: "text", id: `${id}-name`, placeholder: "name of the file", "aria-label": "Name of the file, without folder", spellcheck: "false" });
  const said = el("p", { class: "note", role: "status" });
  const save = async (event) => {
    event.preventDefault();
    clearError();
    said.textContent = "";
    try {
      const saved = await post("/api/vectors/save", { file: name.value.trim(), what: what() });
      said.textContent = `Saved as ${saved.source}: “${saved.name}” can be chosen now.`;
      await reloadVectors();
    } catch (e) {
      showError(e, box);
    }
  };
  const form = el("form", { class: "row", onsubmit: save }, name, el("button", { id, class: "small" }, words));
  const box = el("div", { class: "stack tight saver" }, form, said);
  return box;
}
