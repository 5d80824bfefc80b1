// The page begins: what the server has, then each part.

import * as chat from "./chat.js";
import * as compare from "./compare.js";
import { byId } from "./dom.js";
import { showError, showNotice } from "./errors.js";
import * as lens from "./lens.js";
import * as map from "./map.js";
import * as results from "./results.js";
import * as space from "./space.js";
import { load, state } from "./state.js";
import * as status from "./status.js";
import * as steer from "./steer.js";
import * as tabs from "./tabs.js";
import * as theme from "./theme.js";
import "./tip.js";

async function begin() {
  theme.start();
  try {
    await load();
  } catch (e) {
    return showError(e);
  }
  const { model, version, warnings } = state.about;
  byId("model").textContent = `${model.name} · ${model.n_layers} layers of ${model.d_model}`;
  byId("model").dataset.tip = `${model.name}\n${model.hash}\ncontext of ${model.n_ctx} tokens\npersonascope ${version}`;
  for (const part of [lens, chat, steer, map, compare, results, tabs, status, space]) part.start();
  if (warnings.length) showNotice(warnings);
  document.documentElement.dataset.ready = "yes";
}

begin();
