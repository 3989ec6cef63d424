// A histogram of densities upon which a range is chosen: by dragging, or with two handles and the arrow keys.
"use strict";

saejax.brush = (() => {
  const { el, svg, scales, format, chart, histogram } = saejax;
  const HEIGHT = 130;
  const SIDE = 12;
  const BOTTOM = 92;

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  // bins(densities, 4): powers of ten in quarters, from the rarest latent to 1; {edges of log10, counts}
  const bins = (densities, perDecade) => {
    const positive = densities.filter((d) => d > 0).map(Math.log10);
    const low = Math.floor(positive.reduce((a, b) => Math.min(a, b), -1));
    const counts = new Array(-low * perDecade).fill(0);
    for (const value of positive) counts[clamp(Math.floor((value - low) * perDecade), 0, counts.length - 1)] += 1;
    return { edges: Array.from({ length: counts.length + 1 }, (_, i) => low + i / perDecade), counts };
  };

  // brush(densities, onchange): {box, set(range)}; a range is [low, high] in densities, or null for all
  const brush = (densities, onchange) => {
    const { edges, counts } = bins(densities, 6);
    const last = edges.length - 1;
    let range = null; // of indices of edges
    let x = null;

    const bars = svg("g", { "aria-hidden": "true" });
    const chosen = svg("rect", { class: "chosen", y: 0, height: BOTTOM });
    const overlay = svg("rect", { class: "overlay", y: 0, height: BOTTOM });
    const handle = (name) => svg("rect", { class: "handle", width: 8, height: 30, rx: 3, y: BOTTOM / 2 - 15, tabindex: 0,
      role: "slider", "aria-label": `${name} density`, "aria-valuemin": edges[0], "aria-valuemax": edges[last] });
    const handles = [handle("Lowest"), handle("Highest")];
    const text = (i) => format.percent(10 ** edges[i], 2);

    const show = () => {
      if (!x) return;
      const [from, to] = range ?? [0, last];
      bars.replaceChildren();
      histogram.bars(bars, counts, (i) => x(edges[i]), 4, BOTTOM, (i) => i < from || i >= to);
      chosen.setAttribute("x", x(edges[from]));
      chosen.setAttribute("width", range ? x(edges[to]) - x(edges[from]) : 0);
      handles.forEach((one, side) => {
        one.setAttribute("x", x(edges[[from, to][side]]) - 4);
        one.setAttribute("aria-valuenow", edges[[from, to][side]].toFixed(2));
        one.setAttribute("aria-valuetext", text([from, to][side]));
      });
    };

    const choose = (from, to, quiet = false) => {
      const next = from <= 0 && to >= last ? null : [clamp(from, 0, last - 1), clamp(to, 1, last)];
      if (String(next) === String(range)) return;
      range = next;
      show();
      if (!quiet) onchange(range && range.map((i) => 10 ** edges[i]));
    };

    const draw = (picture, width) => {
      x = scales.linear(edges[0], edges[last], SIDE, width - SIDE);
      overlay.setAttribute("x", SIDE);
      overlay.setAttribute("width", width - 2 * SIDE);
      picture.append(bars, chosen, overlay, ...handles);
      const decades = edges.filter((e) => Math.abs(e - Math.round(e)) < 1e-9);
      const marks = decades.map((e) => ({ at: x(e), text: `${format.tick(10 ** (e + 2))}%` }));
      chart.bottomAxis(picture, BOTTOM, SIDE, width - SIDE, marks, "share of positions on which a latent fires");
      show();
    };

    const place = (event) => {
      const left = made.picture.getBoundingClientRect().left;
      return (x.invert(event.clientX - left) - edges[0]) * last / (edges[last] - edges[0]);
    };
    const drag = (start, moved) => {
      start.target.setPointerCapture(start.pointerId);
      const stop = () => start.target.removeEventListener("pointermove", moved);
      start.target.addEventListener("pointermove", moved);
      start.target.addEventListener("pointerup", stop, { once: true });
      start.target.addEventListener("pointercancel", stop, { once: true });
      start.preventDefault();
    };
    overlay.addEventListener("pointerdown", (event) => {
      const anchor = place(event);
      choose(0, last);
      drag(event, (moved) => {
        const here = place(moved);
        choose(Math.floor(Math.min(anchor, here)), Math.ceil(Math.max(anchor, here)));
      });
    });
    const moveHandle = (side, to) => {
      const [from, until] = range ?? [0, last];
      if (side === 0) choose(Math.min(to, until - 1), until);
      else choose(from, Math.max(to, from + 1));
    };
    handles.forEach((one, side) => {
      one.addEventListener("pointerdown", (event) => {
        one.focus();
        drag(event, (moved) => moveHandle(side, Math.round(place(moved))));
      });
      one.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -6, PageUp: 6, Home: -last, End: last };
        if (!(event.key in step)) return;
        event.preventDefault();
        moveHandle(side, (range ?? [0, last])[side] + step[event.key]);
      });
    });

    const made = chart("Histogram of densities; choose a range with the two handles", HEIGHT, draw);
    made.picture.setAttribute("role", "group");
    const nearest = (density) => Math.round((Math.log10(density) - edges[0]) * last / (edges[last] - edges[0]));
    const set = (densityRange) => (densityRange ? choose(...densityRange.map(nearest), true) : choose(0, last, true));
    return { box: el("div", { class: "brush" }, made.box), set };
  };
  return brush;
})();
