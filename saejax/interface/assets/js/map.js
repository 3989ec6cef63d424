// The decoder's directions in two dimensions, on a canvas since there may be tens of thousands; the table has the same latents.
"use strict";

saejax.map = (() => {
  const { el, scales, theme, tooltip } = saejax;
  const MARGIN = 14;
  const REACH = 14; // pixels from the pointer within which a latent is meant
  const N_COLOURS = 7;
  const LEVELS = 24;

  // view: data → pixels, both axes by one factor; `zoom` times larger round `centre`
  const makeView = (index, width, height) => {
    const range = (values) => values.reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [Infinity, -Infinity]);
    const [x, y] = [range(index.x), range(index.y)];
    const fit = Math.min((width - 2 * MARGIN) / (x[1] - x[0] || 1), (height - 2 * MARGIN) / (y[1] - y[0] || 1));
    return { width, height, fit, zoom: 1, centre: [(x[0] + x[1]) / 2, (y[0] + y[1]) / 2] };
  };
  const project = (view, index, i) => [
    view.width / 2 + (index.x[i] - view.centre[0]) * view.fit * view.zoom,
    view.height / 2 - (index.y[i] - view.centre[1]) * view.fit * view.zoom,
  ];

  const colours = (index, by) => {
    if (by === "cluster") {
      const own = Array.from({ length: N_COLOURS }, (_, i) => scales.css(`--category-${i}`));
      return (i) => own[((index.cluster[i] % N_COLOURS) + N_COLOURS) % N_COLOURS];
    }
    const logs = index.density.map((d) => (d > 0 ? Math.log10(d) : NaN));
    const sorted = logs.filter((v) => !Number.isNaN(v)).sort((a, b) => a - b);
    const at = (share) => sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
    const level = scales.linear(at(0.02), at(0.98), 0, LEVELS);
    const ramp = scales.ramp();
    const own = Array.from({ length: LEVELS + 1 }, (_, i) => ramp(i / LEVELS));
    const never = scales.css("--rule-strong");
    return (i) => (Number.isNaN(logs[i]) ? never : own[Math.round(Math.min(Math.max(level(logs[i]), 0), LEVELS))]);
  };

  const dot = (context, [x, y], radius) => {
    context.beginPath();
    context.arc(x, y, radius, 0, 7);
  };

  const drawClusters = (context, view, index, ids) => {
    const sums = new Map();
    for (const i of ids) {
      const sum = sums.get(index.cluster[i]) ?? [0, 0, 0];
      const [x, y] = project(view, index, i);
      sums.set(index.cluster[i], [sum[0] + x, sum[1] + y, sum[2] + 1]);
    }
    context.font = `600 12px ${getComputedStyle(document.body).fontFamily}`;
    context.textAlign = "center";
    context.lineWidth = 3;
    context.strokeStyle = scales.css("--page");
    context.fillStyle = scales.css("--ink");
    for (const [cluster, [x, y, n]] of sums) {
      context.strokeText(cluster, x / n, y / n + 4);
      context.fillText(cluster, x / n, y / n + 4);
    }
  };

  // map(index, {describe, open, label}): {box, show(ids), mark(latent), colour(by), zoom(factor)}
  const map = (index, { describe, open, label }) => {
    const canvas = el("canvas", { role: "img", "aria-label": label });
    const box = el("div", { class: "map" }, canvas);
    const context = canvas.getContext("2d");
    let [view, ids, by, marked] = [null, [], "density", -1];

    const paint = () => {
      if (!view) return;
      const ratio = devicePixelRatio;
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.clearRect(0, 0, view.width, view.height);
      const radius = Math.min(6, Math.max(1.4, 55 / Math.sqrt(index.n) + 0.7) * Math.sqrt(view.zoom));
      if (ids.length < index.n) {
        context.fillStyle = scales.css("--rule");
        for (let i = 0; i < index.n; i++) {
          dot(context, project(view, index, i), radius);
          context.fill();
        }
      }
      const colour = colours(index, by);
      for (const i of ids) {
        dot(context, project(view, index, i), radius);
        context.fillStyle = colour(i);
        context.fill();
      }
      if (by === "cluster") drawClusters(context, view, index, ids);
      if (marked >= 0) {
        dot(context, project(view, index, marked), radius + 3);
        context.strokeStyle = scales.css("--accent");
        context.lineWidth = 2;
        context.stroke();
      }
    };

    let asked = false;
    const repaint = () => {
      if (asked) return;
      asked = true;
      requestAnimationFrame(() => {
        asked = false;
        paint();
      });
    };

    new ResizeObserver(([entry]) => {
      const width = Math.round(entry.contentRect.width);
      if (!width || width === view?.width) return;
      const height = Math.round(width * 0.82);
      canvas.width = width * devicePixelRatio;
      canvas.height = height * devicePixelRatio;
      canvas.style.height = `${height}px`;
      view = makeView(index, width, height);
      paint();
    }).observe(box);

    const nearest = (event) => {
      let [found, best] = [-1, REACH * REACH];
      for (const i of ids) {
        const [x, y] = project(view, index, i);
        const distance = (x - event.offsetX) ** 2 + (y - event.offsetY) ** 2;
        if (distance < best) [found, best] = [i, distance];
      }
      return found;
    };
    const mark = (latent) => {
      if (latent === marked) return;
      marked = latent;
      repaint();
    };
    const hover = (event) => {
      const found = nearest(event);
      mark(found);
      canvas.style.cursor = found < 0 ? "" : "pointer";
      if (found < 0) tooltip.hide();
      else tooltip.show(canvas, describe(found), { x: event.clientX + 10, y: event.clientY + 8 });
    };
    const zoom = (factor, at = null) => {
      const next = Math.min(Math.max(view.zoom * factor, 1), 40);
      if (at) {
        const shift = (1 / view.zoom - 1 / next) / view.fit;
        view.centre = [view.centre[0] + (at.offsetX - view.width / 2) * shift, view.centre[1] - (at.offsetY - view.height / 2) * shift];
      }
      if (next === 1) view = makeView(index, view.width, view.height);
      view.zoom = next;
      repaint();
    };
    canvas.addEventListener("pointermove", hover);
    canvas.addEventListener("pointerleave", () => {
      mark(-1);
      tooltip.hide();
    });
    canvas.addEventListener("click", (event) => {
      const found = nearest(event);
      if (found >= 0) open(found);
    });
    // With Ctrl, as maps do, so that the page still scrolls under the wheel.
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      zoom(Math.exp(-event.deltaY / 300), event);
    }, { passive: false });
    theme.onChange(paint);

    const show = (next) => {
      ids = next;
      repaint();
    };
    const colour = (next) => {
      by = next;
      repaint();
    };
    return { box, show, mark, colour, zoom };
  };
  return map;
})();
