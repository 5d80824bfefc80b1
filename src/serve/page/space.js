// Persona space as the server has it, asked for until it is computed; one whole answer per site is kept. Adapters come after the base.

import { get } from "./api.js";
import { emit, reloadVectors, state } from "./state.js";

const known = new Map();

/** The space at a site, or without one where the server likes best; `waiting(words)` while it is computed. Throws what the server refuses. */
export async function space(site, waiting, signal) {
  if (known.has(site)) return known.get(site);
  for (;;) {
    const { status, body } = await get("/api/space", { site }, signal);
    if (status === 200 && body.ready !== false) {
      if (whole(body)) known.set(body.site, body);
      emit("roles", body.roles);
      return body;
    }
    waiting(`${body.stage ?? "Persona space is being computed"}${body.of ? `: ${body.done} of ${body.of}` : ""}`);
    emit("busy");
    await new Promise((next) => setTimeout(next, 1000));
    signal?.throwIfAborted();
  }
}

/** Whether all adapters are in it. */
const whole = (body) => body.models.length >= state.about.adapters.length;

/** Adapters are computed one after another: calls `more(space)` as they come, until all are there or nothing is under way any more. */
export async function adapters(first, more, signal) {
  for (let [body, busy] = [first, true]; busy && !whole(body); ) {
    await new Promise((next) => setTimeout(next, 1500));
    if (signal.aborted) return;
    // In this order: what came between the two questions is in the second answer.
    busy = Boolean((await get("/api/status", {}, signal)).body.stage);
    const now = await space(first.site, () => {}, signal);
    if (now.models.length > body.models.length || now.warnings.length > body.warnings.length) more(now);
    body = now;
  }
}

/** Waits for the space from the beginning on: its axes are vectors and its roles can be talked to, whether or not the map is opened. */
export async function start() {
  try {
    await space(null, () => {});
    await reloadVectors();
  } catch {
    // Whoever opens the map is told why.
  }
}
