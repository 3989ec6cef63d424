// The sweep: a metric against L0, every member a link to its page.
"use strict";

saejax.pareto = (() => {
  const { svg, scales, format, chart, shapes, tooltip } = saejax;
  const EDGE = { left: 52, right: 28, top: 16, bottom: 44 };
  const HEIGHT = 340;

  // Powers of two: L0 is read, not its exponent.
  const powers = (low, high) => {
    const [first, last] = [Math.floor(Math.log2(low)), Math.ceil(Math.log2(high))];
    return Array.from({ length: last - first + 1 }, (_, i) => 2 ** (first + i));
  };

  // The members that none beats in both: rising L0, each better than all before it.
  const frontier = (members, metric, sign) => {
    let best = -Infinity;
    return [...members].sort((a, b) => a.metrics.l0 - b.metrics.l0).filter(({ metrics }) => {
      const better = sign * metrics[metric] > best;
      if (better) best = sign * metrics[metric];
      return better;
    });
  };

  const describe = (one) => [
    one.name,
    `L0 ${format.number(one.metrics.l0)}`,
    `cross-entropy recovered ${format.percent(one.metrics.ce_recovered)}`,
    `variance unexplained ${format.percent(one.metrics.fvu)}`,
    one.folder ? null : "no features were collected",
  ].filter(Boolean).join("\n");

  const axes = (picture, width, x, y, low, high, title) => {
    const bottom = HEIGHT - EDGE.bottom;
    for (const value of scales.ticks(low, high, 7)) {
      picture.append(
        svg("line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: y(value), y2: y(value) }),
        svg("text", { x: EDGE.left - 8, y: y(value) + 4, "text-anchor": "end" }, `${format.tick(value * 100)}%`));
    }
    const marks = powers(x.invert(EDGE.left), x.invert(width - EDGE.right)).map((v) => ({ at: x(v), text: format.tick(v) }))
      .filter(({ at }) => at >= EDGE.left - 1 && at <= width - EDGE.right + 1);
    chart.bottomAxis(picture, bottom, EDGE.left, width - EDGE.right, marks, "L0: active latents a token (log scale)");
    picture.append(svg("text", { class: "title", x: 0, y: 2 }, title));
  };

  const bars = (one, metric, x, y) => ["l0", metric].map((name) => {
    const pair = one.intervals[name];
    if (!pair) return null;
    const at = { x1: x(one.metrics.l0), x2: x(one.metrics.l0), y1: y(one.metrics[metric]), y2: y(one.metrics[metric]) };
    const ends = name === "l0" ? { x1: x(pair[0]), x2: x(pair[1]) } : { y1: y(pair[0]), y2: y(pair[1]) };
    return svg("line", { class: "interval", ...at, ...ends });
  }).filter(Boolean);

  const point = (one, metric, families, x, y, href) => {
    const mark = svg("g", { transform: `translate(${x(one.metrics.l0)} ${y(one.metrics[metric])})` },
      svg("circle", { class: "halo", r: 11 }), shapes.shape(families.indexOf(one.family)));
    if (one.recommended.length) mark.append(svg("circle", { class: "ring", r: 9 }));
    const label = describe(one).replaceAll("\n", ", ");
    return one.folder ? svg("a", { href, "aria-label": label }, mark) : svg("g", { role: "img", "aria-label": label }, mark);
  };

  const labels = (members, metric, sign, x, y) => members.map((one) => svg("text", {
    x: x(one.metrics.l0) + 10, y: y(one.metrics[metric]) + (sign > 0 ? 17 : -9), "aria-hidden": "true" }, one.label));

  // pareto(members, {metric, title, sign}, families, href): sign 1 where more is better
  const pareto = (members, { metric, title, sign }, families, href) => {
    const shown = members.filter((one) => one.metrics.l0 > 0 && Number.isFinite(one.metrics[metric]));
    const l0 = shown.map((one) => one.metrics.l0);
    const values = shown.flatMap((one) => [one.metrics[metric], ...(one.intervals[metric] ?? [])]);
    const margin = (Math.max(...values) - Math.min(...values)) * 0.08 || 0.01;
    const [low, high] = [Math.min(...values) - margin, Math.max(...values) + margin];
    const best = frontier(shown, metric, sign);
    const draw = (picture, width) => {
      const x = scales.log(Math.min(...l0) / 1.25, Math.max(...l0) * 1.6, EDGE.left, width - EDGE.right);
      const y = scales.linear(low, high, HEIGHT - EDGE.bottom, EDGE.top);
      axes(picture, width, x, y, low, high, title);
      const line = best.map((one) => `${x(one.metrics.l0)},${y(one.metrics[metric])}`).join(" ");
      picture.append(svg("polyline", { class: "frontier", points: line }));
      for (const one of shown) picture.append(...bars(one, metric, x, y));
      for (const one of shown) {
        const mark = point(one, metric, families, x, y, href(one));
        tooltip.explain(mark, "*", () => describe(one));
        picture.append(mark);
      }
      picture.append(...labels(shown.length <= 16 ? shown : best, metric, sign, x, y));
    };
    const made = chart(`${title} against L0`, HEIGHT, draw);
    made.picture.setAttribute("role", "group"); // it holds links
    return made.box;
  };
  return pareto;
})();
