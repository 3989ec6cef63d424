// Numbers to places: linear and logarithmic scales and their ticks; numbers to colours of the style sheet.
"use strict";

saejax.scales = (() => {
  const linear = (low, high, from, to) => {
    const span = high - low || 1;
    const at = (value) => from + ((value - low) / span) * (to - from);
    at.invert = (place) => low + ((place - from) / (to - from)) * span;
    return at;
  };

  const log = (low, high, from, to) => {
    const inner = linear(Math.log10(low), Math.log10(high), from, to);
    const at = (value) => inner(Math.log10(value));
    at.invert = (place) => 10 ** inner.invert(place);
    return at;
  };

  // ticks(0, 1, 5) = [0, 0.2, 0.4, …]: round numbers, about n of them
  const ticks = (low, high, n) => {
    const rough = (high - low) / n || 1;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999);
    const first = Math.ceil(low / step - 1e-9);
    const last = Math.floor(high / step + 1e-9);
    return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
  };

  // Colours of the theme that holds now, which a canvas cannot take from the style sheet by itself: rgb("--ramp-2") = [r, g, b]
  const rgb = (name) => {
    const probe = saejax.el("span", { hidden: true });
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    const found = getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number);
    probe.remove();
    return found;
  };

  // ramp()(0…1) = "rgb(…)": the sequential scale
  const ramp = () => {
    const stops = [0, 1, 2, 3, 4].map((i) => rgb(`--ramp-${i}`));
    return (share) => {
      const place = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
      const i = Math.min(Math.floor(place), stops.length - 2);
      const mixed = stops[i].map((value, c) => Math.round(value + (stops[i + 1][c] - value) * (place - i)));
      return `rgb(${mixed.join(" ")})`;
    };
  };
  const css = (name) => `rgb(${rgb(name).join(" ")})`;
  return { linear, log, ticks, ramp, css };
})();
