// Several answers to one question, drawn in one request: one card per arm, filled as its tokens come.

import { stream } from "./api.js";
import { el, number } from "./dom.js";
import { means } from "./reading.js";
import { emit, on, state } from "./state.js";
import { Tokens } from "./tokens.js";

/** The card of one arm: its tokens, its mean on the chosen vector, its coherence. */
export class Answer {
  constructor(title, attributes = {}) {
    this.tokens = new Tokens(title);
    this.ids = null;
    this.done = null;
    this.begun = null;
    this.facts = el("p", { class: "facts" });
    this.note = el("p", { class: "quiet", hidden: true });
    this.title = el("h3", {}, title);
    this.node = el("article", { ...attributes, class: `answer ${attributes.class ?? ""}` }, this.title, this.tokens.node, this.note, this.facts);
  }

  /** An event of the stream that is this arm's. */
  take(name, data, start) {
    this.begun = start;
    if (name === "token") this.tokens.push(data.text);
    if (name === "z") for (const [id, values] of Object.entries(data.z)) this.tokens.put(id, start.sites[id], data.i, values);
    if (name === "done") {
      this.done = data;
      this.ids = data.tokens;
      this.say();
    }
    if (name === "error") this.fail(data.error, data.hint);
  }

  /** Its mean on the vector and at the site that colour the tokens; null where that was not read. */
  mean() {
    const read = this.tokens.reads[state.lens.vector];
    if (!read) return null;
    const at = read.sites.indexOf(state.lens.site);
    return this.done?.mean[state.lens.vector]?.[at] ?? means(read.rows, read.sites)[at] ?? null;
  }

  say() {
    if (!this.done) return;
    const { quality, ended } = this.done;
    const fact = (words, value, tip) => el("span", { tabindex: 0, data: { tip } }, `${words} `, el("b", {}, value));
    const facts = [
      this.tokens.reads[state.lens.vector] || !state.lens.vector ? null : el("span", { class: "warning" }, "not read on this vector: answer again to colour by it"),
      fact("mean", number(this.mean()), "The mean projection over the reply,\non the vector and at the site of the colours"),
      fact("nats per token", number(quality?.nll, 3), "How surprising the reply is to the same model without edits:\nmean negative log-likelihood per token"),
      fact("distinct-2", number(quality?.distinct_2, 2), "The share of pairs of neighbouring tokens that are different ones:\nlow where it goes in circles"),
      fact("repetition-4", number(quality?.repetition_4, 2), "The share of runs of four tokens that came before"),
      fact("tokens", String(this.done.tokens.length), ended === "length" ? "ended at the limit of tokens" : "ended by itself"),
    ];
    this.facts.replaceChildren(...facts.filter(Boolean));
  }

  fail(words, hint) {
    this.note.hidden = false;
    this.note.className = "warning";
    this.note.textContent = [words, hint].filter(Boolean).join(" ");
  }
}

/**
 * Draws all arms in one request. `answers` are cards in the order of `ask.arms`; `then(start)` is called when the server has
 * begun, `each(answer, i)` when an arm is done. Throws what the server refused; an abort ends quietly, with the cards saying so.
 */
export async function drawArms(ask, answers, signal, { then = () => {}, each = () => {} } = {}) {
  let start = null;
  let fault = null;
  emit("busy");
  try {
    await stream("/api/reply", ask, (name, data) => {
      if (name === "start") {
        emit("busy");
        then((start = data));
      } else if (name === "error" && (data.arm === null || data.arm === undefined)) fault = Object.assign(new Error(data.error), { hint: data.hint });
      else if (answers[data.arm]) {
        answers[data.arm].take(name, data, start);
        if (name === "done") each(answers[data.arm], data.arm);
      }
    }, signal);
  } catch (e) {
    if (e.name !== "AbortError") throw e;
    for (const answer of answers) if (!answer.done) answer.fail("stopped");
  } finally {
    emit("busy");
  }
  if (fault) throw fault;
}

/** Repaints what cards say of means when another vector or site is chosen: `answers()` gives those that are shown. */
export function follow(answers) {
  for (const name of ["lens", "profile"]) on(name, () => answers().forEach((a) => a.say()));
}
