// The drawing of the map: roles as points, the default assistant, traits as arrows, an adapter's shift, the conversation's way.

import { blank, extent, frame, textWidth, ticks } from "./chart.js";
import { number, svg } from "./dom.js";
import { place } from "./labels.js";

/**
 * Draws into `chart` at `width`. `view` is `{space, x, y, traits, model, path, found, chosen, choose(name)}`: two axes by name, whether traits
 * are drawn, the adapter's model or null, the conversation's turns, the role searched for and the one chosen.
 */
export function scatter(chart, width, view) {
  const height = Math.round(width < 520 ? width * 1.05 : Math.min(620, width * 0.72));
  blank(chart, width, height);
  const { space, x, y, model, path } = view;
  const at = (o) => [o.at[x], o.at[y]];
  const middle = centre(space, x, y);
  const tips = view.traits ? space.traits.map((t) => ({ ...t, to: [middle[0] + t.at[x], middle[1] + t.at[y]] })) : [];
  const all = [...space.roles, space.default, ...(model ? [model.default, ...model.roles] : []), ...path].map(at).concat(tips.map((t) => t.to));
  const [rx, ry] = [extent(all.map((p) => p[0]), 0.06) ?? [-1, 1], extent(all.map((p) => p[1]), 0.06) ?? [-1, 1]];
  const box = { left: 54, right: width - 12, top: 12, bottom: height - 44 };
  const count = width > 600 ? 8 : 4;
  const { px, py } = frame(chart, box, { range: rx, name: axisWords(space, x), at: ticks(...rx, count) }, { range: ry, name: axisWords(space, y), at: ticks(...ry, 6) });
  const put = (o) => [px(o.at[x]), py(o.at[y])];
  const taken = path.map((turn) => ({ x: put(turn)[0] - 9, y: put(turn)[1] - 9, w: 18, h: 18 }));

  if (![x, y].includes("assistant_axis")) chart.append(axisLine(middle, at(space.default), px, py, box, taken));
  if (view.traits) chart.append(...tips.map((t) => arrow(middle, t, px, py, box, taken)));
  const moved = model ? new Map(model.roles.map((r) => [r.name, r])) : new Map();
  for (const role of model ? space.roles : []) if (moved.has(role.name)) chart.append(line("shift", put(role), put(moved.get(role.name))));
  for (const role of model ? model.roles : []) chart.append(svg("circle", { class: "moved-point", cx: put(role)[0], cy: put(role)[1], r: 2.5 }));

  const dots = space.roles.map((role) => ({ role, x: put(role)[0], y: put(role)[1], r: 4.5 }));
  for (const dot of dots) chart.append(point(dot, view, moved));
  if (model) chart.append(line("shift default", put(space.default), put(model.default)), star(put(model.default), "moved-default", `${model.adapter}: ${model.default.name}`));
  const [sx, sy] = put(space.default);
  chart.append(star([sx, sy], "default-point", `${space.default.name}\nthe default assistant`));
  way(chart, path, put, view);

  // The default and whoever is looked for are named first, then those furthest out: they are what the axes are about.
  const out = (d) => Math.hypot((d.x - px(middle[0])) / width, (d.y - py(middle[1])) / height);
  const first = (d) => (d.role.name === view.chosen ? 2 : 0) + (d.role.name === view.found ? 1 : 0);
  const order = [...dots].sort((a, b) => first(b) - first(a) || out(b) - out(a));
  const named = [{ words: space.default.name, x: sx, y: sy, r: 9, strong: true, must: true }, ...order.map((d) => ({ ...d, words: d.role.name, strong: first(d) > 0 }))];
  const places = place(named.map((n) => ({ ...n, width: textWidth(n.words, n.strong ? "bold" : ""), height: 14 })), box, 14, taken);
  named.forEach((n, i) => places[i] && chart.append(svg("text", { class: n.strong ? "label strong" : "label", x: places[i].x, y: places[i].y, "aria-hidden": "true" }, n.words)));
}

/** The middle of the roles, from where traits are drawn. */
function centre(space, x, y) {
  const mean = (axis) => space.roles.reduce((sum, r) => sum + r.at[axis], 0) / Math.max(1, space.roles.length);
  return [mean(x), mean(y)];
}

/** An axis in words, with its share of the variance. */
export function axisWords(space, axis, of = " of the variance") {
  const share = space.variance[axis];
  const name = axis === "assistant_axis" ? "assistant axis" : axis;
  return Number.isFinite(share) ? `${name} (${(share * 100).toFixed(0)} %${of})` : name;
}

const line = (kind, [x1, y1], [x2, y2]) => svg("line", { class: kind, x1, y1, x2, y2 });

function point({ role, x, y, r }, view, moved) {
  const near = role.neighbours.slice(0, 5).map((n) => `${n.name} ${number(n.cosine, 2)}`).join(", ");
  const shift = moved.get(role.name);
  const way = shift ? `${view.model.adapter}: ${number(shift.at[view.x] - role.at[view.x], 3)}, ${number(shift.at[view.y] - role.at[view.y], 3)}` : "";
  const tip = [role.name, `${number(role.at[view.x], 3)}, ${number(role.at[view.y], 3)}`, near && `nearest: ${near}`, way].filter(Boolean).join("\n");
  const kind = ["role-point", role.name === view.chosen ? "chosen" : "", role.name === view.found ? "found" : ""].join(" ").trim();
  const dot = svg("circle", { class: kind, cx: x, cy: y, r, role: "button", tabindex: role.name === view.stop ? 0 : -1, "aria-label": tip.replaceAll("\n", ", "), data: { name: role.name, tip } });
  dot.addEventListener("click", () => view.choose(role.name));
  dot.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      view.choose(role.name);
    }
  });
  return dot;
}

function star([x, y], kind, tip) {
  const corners = Array.from({ length: 10 }, (_, i) => {
    const [r, a] = [i % 2 ? 4 : 9.5, (Math.PI * i) / 5 - Math.PI / 2];
    return `${(x + r * Math.cos(a)).toFixed(1)},${(y + r * Math.sin(a)).toFixed(1)}`;
  });
  return svg("polygon", { class: kind, points: corners.join(" "), tabindex: 0, role: "img", "aria-label": tip.replaceAll("\n", ", "), data: { tip } });
}

function arrow(from, trait, px, py, box, taken) {
  const [x1, y1, x2, y2] = [px(from[0]), py(from[1]), px(trait.to[0]), py(trait.to[1])];
  const length = Math.hypot(x2 - x1, y2 - y1) || 1;
  const [ux, uy] = [(x2 - x1) / length, (y2 - y1) / length];
  const head = `M${x2} ${y2}L${x2 - 7 * ux + 3.5 * uy} ${y2 - 7 * uy - 3.5 * ux}L${x2 - 7 * ux - 3.5 * uy} ${y2 - 7 * uy + 3.5 * ux}Z`;
  const g = svg("g", { class: "trait", data: { tip: `${trait.name}\na trait: the displacement of those who have it` } }, svg("line", { x1, y1, x2, y2 }), svg("path", { d: head }));
  const width = textWidth(trait.name, "italic");
  const [label] = place([{ x: x2, y: y2, r: 5, width, height: 13 }], box, 1, taken);
  if (label) {
    taken.push({ x: label.x, y: label.y - 11, w: width, h: 14 });
    g.append(svg("text", { class: "label", x: label.x, y: label.y }, trait.name));
  }
  return g;
}

/** The assistant axis where it is neither of the two: it runs from the middle of the roles through the default assistant. */
function axisLine([mx, my], [dx, dy], px, py, box, taken) {
  const [x1, y1, x2, y2] = [px(mx), py(my), px(dx), py(dy)];
  const long = 2 * Math.hypot(box.right - box.left, box.bottom - box.top) / (Math.hypot(x2 - x1, y2 - y1) || 1);
  const clip = (t) => [x1 + (x2 - x1) * t, y1 + (y2 - y1) * t];
  const reach = (sign) => {
    // As far as the frame goes.
    let [near, far] = [0, long];
    for (let i = 0; i < 40; i += 1) {
      const mid = (near + far) / 2;
      const [x, y] = clip(sign * mid);
      if (x >= box.left && x <= box.right && y >= box.top && y <= box.bottom) near = mid;
      else far = mid;
    }
    return clip(sign * near);
  };
  const [[ax, ay], [bx, by]] = [reach(-1), reach(1)];
  const width = textWidth("assistant axis", "italic");
  const [label] = place([{ x: bx, y: by, r: 4, width, height: 13 }], box, 1, taken);
  if (label) taken.push({ x: label.x, y: label.y - 11, w: width, h: 14 });
  const words = label ? svg("text", { class: "label", x: label.x, y: label.y }, "assistant axis") : null;
  return svg("g", { class: "trait assistant-axis", data: { tip: "the assistant axis\nfrom the middle of the roles through the default assistant" } }, svg("line", { x1: ax, y1: ay, x2: bx, y2: by }), words);
}

/** The conversation: numbered turns, joined in their order. */
function way(chart, path, put, view) {
  if (path.length > 1) chart.append(svg("path", { class: "way", d: path.map((t, i) => `${i ? "L" : "M"}${put(t).join(" ")}`).join("") }));
  for (const turn of path) {
    const [x, y] = put(turn);
    const near = turn.nearest.map((n) => n.name).join(", ");
    const tip = `turn ${turn.turn + 1}\n${number(turn.at[view.x], 3)}, ${number(turn.at[view.y], 3)}${near ? `\nnearest: ${near}` : ""}`;
    const g = svg("g", { class: "way-point", tabindex: 0, role: "img", "aria-label": tip.replaceAll("\n", ", "), data: { tip } });
    g.append(svg("circle", { cx: x, cy: y, r: 8.5 }), svg("text", { x, y: y + 3.5, "text-anchor": "middle" }, String(turn.turn + 1)));
    chart.append(g);
  }
}
