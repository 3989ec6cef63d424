// A chart is drawn at the width it has, so that its type keeps its size, and again whenever that width changes.
"use strict";

saejax.chart = (() => {
  const { el, svg } = saejax;

  // chart(label, height, draw): draw(svg, width, height) fills an empty svg. `label` is what is read aloud.
  const chart = (label, height, draw) => {
    const picture = svg("svg", { role: "img", "aria-label": label, height });
    const box = el("div", { class: "chart" }, picture);
    let width = 0;
    const redraw = () => {
      if (!width) return;
      picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
      picture.replaceChildren();
      draw(picture, width, height);
    };
    new ResizeObserver(([entry]) => {
      const now = Math.round(entry.contentRect.width);
      if (now === width) return;
      width = now;
      redraw();
    }).observe(box);
    return { box, picture, redraw };
  };

  // Ticks below a line: [{at, text}] in pixels
  const bottomAxis = (picture, y, from, to, marks, title = "") => {
    picture.append(svg("line", { class: "axis", x1: from, x2: to, y1: y, y2: y }));
    for (const { at, text } of marks) {
      picture.append(
        svg("line", { class: "axis", x1: at, x2: at, y1: y, y2: y + 4 }),
        svg("text", { x: at, y: y + 17, "text-anchor": "middle" }, text));
    }
    if (title) picture.append(svg("text", { class: "title", x: (from + to) / 2, y: y + 35, "text-anchor": "middle" }, title));
  };

  return Object.assign(chart, { bottomAxis });
})();
