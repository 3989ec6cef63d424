// What the map looks like: a dot a latent, coloured by density or by cluster; those that are filtered out are pale.
"use strict";

saejax.mapPaint = (() => {
  const { scales } = saejax;
  const N_CATEGORIES = 7;
  const LEVELS = 24;

  const byCluster = ({ cluster }) => {
    const own = Array.from({ length: N_CATEGORIES }, (_, i) => scales.css(`--category-${i}`));
    return (i) => own[cluster[i] % N_CATEGORIES] ?? own[0];
  };

  // On a logarithmic scale, the rarest and the most frequent 2% at its ends
  const byDensity = ({ density }) => {
    const logs = density.map((d) => (d > 0 ? Math.log10(d) : NaN));
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

  const clusterNumbers = (context, view, { cluster }, ids) => {
    const sums = new Map();
    for (const i of ids) {
      const [sumX, sumY, n] = sums.get(cluster[i]) ?? [0, 0, 0];
      const [x, y] = view.place(i);
      sums.set(cluster[i], [sumX + x, sumY + y, n + 1]);
    }
    context.font = `600 12px ${getComputedStyle(document.body).fontFamily}`;
    context.textAlign = "center";
    context.lineWidth = 3;
    context.strokeStyle = scales.css("--page");
    context.fillStyle = scales.css("--ink");
    for (const [number, [x, y, n]] of sums) {
      context.strokeText(number, x / n, y / n + 4);
      context.fillText(number, x / n, y / n + 4);
    }
  };

  // mapPaint(context, view, index, {ids, by, marked})
  return (context, view, index, { ids, by, marked }) => {
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, view.width, view.height);
    const radius = Math.min(6, Math.max(1.4, 55 / Math.sqrt(index.n) + 0.7) * Math.sqrt(view.zoom));
    if (ids.length < index.n) {
      context.fillStyle = scales.css("--rule");
      for (let i = 0; i < index.n; i++) {
        dot(context, view.place(i), radius);
        context.fill();
      }
    }
    const colour = by === "cluster" ? byCluster(index) : byDensity(index);
    for (const i of ids) {
      dot(context, view.place(i), radius);
      context.fillStyle = colour(i);
      context.fill();
    }
    if (by === "cluster") clusterNumbers(context, view, index, ids);
    if (marked < 0) return;
    dot(context, view.place(marked), radius + 3);
    context.strokeStyle = scales.css("--accent");
    context.lineWidth = 2;
    context.stroke();
  };
})();
