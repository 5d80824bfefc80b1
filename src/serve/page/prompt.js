// What is asked in Steer and Compare: a system text and a question, or the conversation of the Chat tab; and how replies are drawn.

import { readAlong, sent, talk } from "./conversation.js";
import { el, field, numberIn } from "./dom.js";
import { keep, kept, state } from "./state.js";

/** A form in `ask(arms)` shape: `node` to show, `ask(arms)` the body of the request. `name` prefixes the ids. */
export function prompt(name) {
  const old = kept(`${name}-prompt`, (text) => JSON.parse(text)) ?? {};
  const system = el("textarea", { id: `${name}-system`, rows: 2, placeholder: "No system text: the default assistant", spellcheck: "false" });
  const question = el("textarea", { id: `${name}-question`, rows: 2 });
  const chat = el("input", { type: "checkbox", id: `${name}-chat` });
  const seed = el("input", { type: "number", id: `${name}-seed`, min: 0, step: 1 });
  const tokens = el("input", { type: "number", id: `${name}-max-tokens`, min: 1, max: state.about.limits.max_new_tokens, step: 1 });
  const temperature = el("input", { type: "number", id: `${name}-temperature`, min: 0, max: 5, step: 0.05 });
  system.value = old.system ?? "";
  question.value = old.question ?? state.about.questions[0] ?? "Who are you?";
  seed.value = old.seed ?? 0;
  temperature.value = old.temperature ?? state.about.defaults.temperature;
  tokens.value = Math.min(old.tokens ?? state.about.defaults.max_new_tokens, state.about.limits.max_new_tokens);

  const words = el("div", { class: "stack" }, field("System text", system), field("Question", question));
  chat.addEventListener("change", () => (words.hidden = chat.checked));
  const node = el("div", { class: "stack" },
    el("label", { class: "check" }, chat, " the conversation of the Chat tab, up to its last question"),
    words,
    el("div", { class: "grid-3" }, field("Seed", seed), field("Tokens at most", tokens), field("Temperature", temperature)));

  return {
    node,
    ask(arms) {
      const drawn = { seed: numberIn(seed, "Seed"), max_new_tokens: numberIn(tokens, "Tokens at most"), temperature: numberIn(temperature, "Temperature"), top_p: chat.checked ? talk.topP : 1 };
      keep(`${name}-prompt`, JSON.stringify({ system: system.value, question: question.value, seed: drawn.seed, tokens: drawn.max_new_tokens, temperature: drawn.temperature }));
      const messages = chat.checked ? upToQuestion() : [...(system.value.trim() ? [{ role: "system", content: system.value }] : []), { role: "user", content: question.value }];
      const several = chat.checked && talk.speakers.length > 1;
      // Whoever is steered is also read: the colours may be changed to it afterwards.
      const read = readAlong(arms.flatMap((a) => a.edits.map((e) => e.vector)));
      return { conversation: chat.checked ? talk.id : name, messages, reply_as: several ? talk.them : null, ...drawn, read, arms };
    },
  };
}

/** What was said up to the last message that is not a reply. */
function upToQuestion() {
  const messages = sent();
  while (messages.at(-1)?.role === "assistant") messages.pop();
  if (!messages.some((m) => m.role === "user")) throw Object.assign(new Error("Nothing was asked in the Chat tab yet."), { hint: "Ask something there, or write a question here." });
  return messages;
}
