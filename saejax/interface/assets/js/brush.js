// A histogram of densities upon which a range is chosen: by dragging, or with two handles and the arrow keys.
"use strict";

saejax.brush = (() => {
  const { el, svg, scales, format, chart, histogram, densityBins } = saejax;
  const HEIGHT = 130;
  const SIDE = 12;
  const BOTTOM = 92;
  const PER_DECADE = 6;

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  // What is drawn of a range; `x` comes with the width.
  const makeParts = ({ edges, counts }) => {
    const last = edges.length - 1;
    const bars = svg("g", { "aria-hidden": "true" });
    const chosen = svg("rect", { class: "chosen", y: 0, height: BOTTOM });
    const overlay = svg("rect", { class: "overlay", y: 0, height: BOTTOM });
    const handles = ["Lowest", "Highest"].map((name) => svg("rect", { class: "handle", width: 8, height: 30, rx: 3,
      y: BOTTOM / 2 - 15, tabindex: 0, role: "slider", "aria-label": `${name} density`, "aria-valuemin": edges[0],
      "aria-valuemax": edges[last] }));
    const show = (x, range) => {
      const [from, to] = range ?? [0, last];
      bars.replaceChildren();
      histogram.bars(bars, counts, (i) => x(edges[i]), 4, BOTTOM, (i) => i < from || i >= to);
      chosen.setAttribute("x", x(edges[from]));
      chosen.setAttribute("width", range ? x(edges[to]) - x(edges[from]) : 0);
      handles.forEach((handle, side) => {
        const edge = edges[[from, to][side]];
        handle.setAttribute("x", x(edge) - 4);
        handle.setAttribute("aria-valuenow", edge.toFixed(2));
        handle.setAttribute("aria-valuetext", format.percent(10 ** edge, 2));
      });
    };
    return { bars, chosen, overlay, handles, show };
  };

  const axis = (picture, x, width, edges) => {
    const decades = edges.filter((e) => Math.abs(e - Math.round(e)) < 1e-9);
    const marks = decades.map((e) => ({ at: x(e), text: `${format.tick(10 ** (e + 2))}%` }));
    chart.bottomAxis(picture, BOTTOM, SIDE, width - SIDE, marks, "share of positions on which a latent fires");
  };

  const drag = (start, moved) => {
    const { target } = start;
    target.setPointerCapture(start.pointerId);
    target.addEventListener("pointermove", moved);
    for (const end of ["pointerup", "pointercancel"]) {
      target.addEventListener(end, () => target.removeEventListener("pointermove", moved), { once: true });
    }
    start.preventDefault();
  };

  // listen(parts, {place(event) in edges, get() and choose(from, to) in edges, last})
  const listen = ({ overlay, handles }, { place, get, choose, last }) => {
    overlay.addEventListener("pointerdown", (event) => {
      const anchor = place(event);
      choose(0, last);
      drag(event, (moved) => choose(Math.floor(Math.min(anchor, place(moved))), Math.ceil(Math.max(anchor, place(moved)))));
    });
    const move = (side, to) => {
      const [from, until] = get();
      if (side === 0) choose(Math.min(to, until - 1), until);
      else choose(from, Math.max(to, from + 1));
    };
    const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -PER_DECADE, PageUp: PER_DECADE,
      Home: -last, End: last };
    handles.forEach((handle, side) => {
      handle.addEventListener("pointerdown", (event) => {
        handle.focus();
        drag(event, (moved) => move(side, Math.round(place(moved))));
      });
      handle.addEventListener("keydown", (event) => {
        if (!(event.key in steps)) return;
        event.preventDefault();
        move(side, get()[side] + steps[event.key]);
      });
    });
  };

  // brush(densities, onchange): {box, set(range)}; a range is [low, high] in densities, or null for all
  return (densities, onchange) => {
    const bins = densityBins(densities, PER_DECADE);
    const { edges } = bins;
    const last = edges.length - 1;
    const parts = makeParts(bins);
    let [range, x] = [null, null]; // the range in numbers of edges
    const choose = (from, to, quiet = false) => {
      const next = from <= 0 && to >= last ? null : [clamp(from, 0, last - 1), clamp(to, 1, last)];
      if (String(next) === String(range)) return;
      range = next;
      if (x) parts.show(x, range);
      if (!quiet) onchange(range && range.map((i) => 10 ** edges[i]));
    };
    const made = chart("Histogram of densities; choose a range with the two handles", HEIGHT, (picture, width) => {
      x = scales.linear(edges[0], edges[last], SIDE, width - SIDE);
      parts.overlay.setAttribute("x", SIDE);
      parts.overlay.setAttribute("width", width - 2 * SIDE);
      picture.append(parts.bars, parts.chosen, parts.overlay, ...parts.handles);
      axis(picture, x, width, edges);
      parts.show(x, range);
    });
    made.picture.setAttribute("role", "group"); // it holds the handles
    const edgeOf = (log) => ((log - edges[0]) * last) / (edges[last] - edges[0]);
    const place = (event) => edgeOf(x.invert(event.clientX - made.picture.getBoundingClientRect().left));
    listen(parts, { place, get: () => range ?? [0, last], choose, last });
    const set = (given) => (given ? choose(...given.map((d) => Math.round(edgeOf(Math.log10(d)))), true) : choose(0, last, true));
    return { box: el("div", { class: "brush" }, made.box), set };
  };
})();
