// Scrolling along with a reply.

import { byId } from "./dom.js";

let following = 0;

/** Keeps the end in sight (`always`, or unless one has scrolled up to read). Once a frame is enough, however fast tokens come. */
export function follow(always, running) {
  if (following && !always) return;
  cancelAnimationFrame(following);
  following = requestAnimationFrame(() => {
    following = 0;
    const place = byId("turns");
    const last = place.lastElementChild;
    if (place.scrollHeight > place.clientHeight + 1) {
      const near = place.scrollHeight - place.scrollTop - place.clientHeight < 200;
      if (always || near) place.scrollTop = place.scrollHeight;
    } else if (running && last && last.getBoundingClientRect().bottom - innerHeight < (always ? Infinity : 200)) {
      // On a small screen the page itself scrolls, under the composer.
      last.scrollIntoView({ block: "nearest" });
    }
  });
}
