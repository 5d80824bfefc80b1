// What all parts of the page share: the model, the vectors, what colours the tokens, and who wants to know of changes.

import { get } from "./api.js";

/** Filled by `load`; `lens` is the vector and the site that tokens are coloured by. */
export const state = { about: null, vectors: [], lens: { vector: null, site: null } };

const listeners = new Map();

/** Calls `f(detail)` at each `name`: vectors, lens, profile, conversation, busy, persona, tab. */
export function on(name, f) {
  if (!listeners.has(name)) listeners.set(name, []);
  listeners.get(name).push(f);
}

export function emit(name, detail) {
  for (const f of listeners.get(name) ?? []) f(detail);
}

/** The model and the vectors. */
export async function load() {
  const [about, vectors] = await Promise.all([get("/api/about"), get("/api/vectors")]);
  state.about = about.body;
  state.vectors = vectors.body;
  const first = vector(state.about.defaults.vector) ?? state.vectors[0];
  setLens(kept("lens-vector", (id) => vector(id)?.id) ?? first?.id ?? null, kept("lens-site") ?? state.about.defaults.site);
}

/** The list of vectors anew: after one was saved, or folders were looked through again. */
export async function reloadVectors() {
  const [about, vectors] = await Promise.all([get("/api/about"), get("/api/vectors")]);
  // What to colour by first may be known only now.
  state.about.defaults = about.body.defaults;
  state.vectors = vectors.body;
  const { defaults } = state.about;
  if (!vector(state.lens.vector)) setLens((vector(defaults.vector) ?? state.vectors[0])?.id ?? null, defaults.site);
  emit("vectors");
}

/** Forgets what was measured on vectors: files may have others under the same names. */
export function forgetProfiles() {
  profiles.clear();
}

/** The vector with this id. */
export const vector = (id) => state.vectors.find((v) => v.id === id);

/** Another vector or site for the colours; a site that the vector lacks becomes its own default. */
export function setLens(id, site) {
  const v = vector(id);
  state.lens = { vector: v?.id ?? null, site: v ? (v.sites.includes(site) ? site : v.site) : null };
  keep("lens-vector", state.lens.vector ?? "");
  keep("lens-site", state.lens.site ?? "");
  emit("lens");
  if (v) profile(v.id);
}

const profiles = new Map();

/** What the default assistant does on a vector at a site; null while it is not known. */
export function profileAt(id, site) {
  const known = profiles.get(id);
  return known?.body?.sites.find((s) => s.site === site) ?? null;
}

/** How many replies the default was measured on. */
export const profileOf = (id) => profiles.get(id)?.body ?? null;

/** Why there is no profile of this vector, if asking failed. */
export const profileFault = (id) => profiles.get(id)?.fault ?? null;

/** Asks for the default's profile of a vector until it is there; tells `profile` when it is. */
export async function profile(id) {
  if (profiles.has(id) && !profiles.get(id).fault) return;
  const entry = { body: null, fault: null };
  profiles.set(id, entry);
  for (let wait = 300; ; wait = Math.min(wait * 1.3, 2000)) {
    try {
      const { status, body } = await get("/api/default", { vector: id });
      if (status === 200 && body.ready !== false) {
        entry.body = body;
        break;
      }
    } catch (e) {
      entry.fault = e;
      break;
    }
    emit("busy");
    await new Promise((next) => setTimeout(next, wait));
  }
  emit("profile", id);
}

/** Small things that outlive a reload; nothing is lost where storage is forbidden but the memory of them. */
export function keep(key, value) {
  try {
    sessionStorage.setItem(`personascope.${key}`, value);
  } catch {
    // Forbidden or full.
  }
}

/** What was kept, put through `read` (which may refuse it by returning undefined). */
export function kept(key, read = (x) => x || undefined) {
  try {
    const value = sessionStorage.getItem(`personascope.${key}`);
    return value === null ? undefined : read(value);
  } catch {
    return undefined;
  }
}
