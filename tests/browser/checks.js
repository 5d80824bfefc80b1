// Looks at a page as it stands. Loaded into the page by the test, never by the page.
(() => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d", { willReadFrequently: true });

  // Any CSS colour as red, green, blue and opacity, 0 to 1.
  const parse = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = "#000";
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data].map((v) => v / 255);
  };
  const over = (front, back) => [0, 1, 2].map((i) => front[i] * front[3] + back[i] * (1 - front[3])).concat(1);
  const light = ([r, g, b]) => {
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  };
  const ratio = (a, b) => {
    const [hi, lo] = [light(a), light(b)].sort((x, y) => y - x);
    return (hi + 0.05) / (lo + 0.05);
  };
  const ground = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.push(parse(getComputedStyle(e).backgroundColor));
    const paper = parse(getComputedStyle(document.documentElement).colorScheme.includes("dark") ? "#121212" : "#fff");
    return layers.reverse().reduce((back, front) => over(front, back), paper);
  };
  const visible = (e) => {
    const r = e.getBoundingClientRect();
    return e.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && r.width > 1 && r.height > 1;
  };
  const own = (e) => [...e.childNodes].filter((n) => n.nodeType === 3).map((n) => n.textContent.trim()).join(" ").trim();

  window.checks = {
    ratio: (a, b) => ratio(parse(a), parse(b)),
    // Texts whose contrast is below AA: 4.5, or 3 for large ones. Disabled controls are exempt.
    contrast: () => {
      const bad = [];
      for (const e of document.body.querySelectorAll("*")) {
        const text = e.matches("input, textarea, select") ? e.value || e.placeholder : own(e);
        if (!text || !visible(e) || e.closest(":disabled, .hidden-text, noscript, option")) continue;
        const style = getComputedStyle(e);
        const colour = e instanceof SVGElement ? style.fill : style.color;
        const back = ground(e);
        const size = parseFloat(style.fontSize);
        const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
        const found = ratio(over(parse(colour), back), back);
        if (found < (large ? 3 : 4.5)) {
          bad.push(`${e.tagName.toLowerCase()}.${e.getAttribute("class") ?? ""} "${text.slice(0, 30)}": ${found.toFixed(2)}`);
        }
      }
      return bad;
    },
    // How far the page is wider than the window, and what sticks out of it.
    sideways: () => {
      const wide = document.documentElement.scrollWidth - window.innerWidth;
      if (wide <= 0) return [];
      const out = [...document.body.querySelectorAll("*")].filter((e) => visible(e) && e.getBoundingClientRect().right > window.innerWidth + 1);
      return [`${wide} px too wide: ` + out.slice(-5).map((e) => `${e.tagName.toLowerCase()}#${e.id}.${e.getAttribute("class") ?? ""}`).join(" ")];
    },
    // Controls that have no name for who cannot see them.
    nameless: () => {
      const named = (e) => own(e) || e.textContent.trim() || e.getAttribute("aria-label") || e.getAttribute("aria-labelledby")
        || e.labels?.length || e.title;
      return [...document.querySelectorAll("button, input, select, textarea, a[href], [role=button], [tabindex='0']")]
        .filter((e) => visible(e) && !named(e)).map((e) => e.outerHTML.slice(0, 100));
    },
    // What has the focus, in one word, and whether that can be seen.
    focus: () => {
      const e = document.activeElement;
      const style = getComputedStyle(e);
      const seen = (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== "none";
      const folded = e.tagName === "SUMMARY" && !e.parentElement.open;
      return { id: e.id, tag: e.tagName.toLowerCase(), seen, folded };
    },
  };
})();
