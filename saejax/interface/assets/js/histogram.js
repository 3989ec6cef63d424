// Bars of counts over intervals, and small pictures of the same.
"use strict";

saejax.histogram = (() => {
  const { svg, scales, format, chart } = saejax;
  const SIDE = 10;
  const BOTTOM = 22;

  // bars(picture, counts, x, top, bottom, outside): x(i) is the left edge of bar i in pixels
  const bars = (picture, counts, x, top, bottom, outside = () => false) => {
    const y = scales.linear(0, Math.max(1, ...counts), bottom, top);
    counts.forEach((count, i) => {
      if (!count) return;
      const left = x(i);
      const height = Math.max(1.5, bottom - y(count));
      picture.append(svg("rect", {
        class: outside(i) ? "bar-mark outside" : "bar-mark",
        x: left, y: bottom - height, width: Math.max(1, x(i + 1) - left - 1), height }));
    });
  };

  // histogram({edges, counts, label, unit, height, zero}): linear edges; `zero` draws a line at 0.
  const histogram = ({ edges, counts, label, height = 110, zero = false }) => {
    const draw = (picture, width) => {
      const x = scales.linear(edges[0], edges[edges.length - 1], SIDE, width - SIDE);
      const bottom = height - BOTTOM;
      bars(picture, counts, (i) => x(edges[i]), 4, bottom);
      if (zero && edges[0] < 0) picture.append(svg("line", { class: "grid", x1: x(0), x2: x(0), y1: 0, y2: bottom }));
      const marks = scales.ticks(edges[0], edges[edges.length - 1], Math.max(2, width / 90));
      chart.bottomAxis(picture, bottom, SIDE, width - SIDE, marks.map((v) => ({ at: x(v), text: format.tick(v) })));
    };
    return chart(label, height, draw).box;
  };

  return Object.assign(histogram, { bars });
})();
