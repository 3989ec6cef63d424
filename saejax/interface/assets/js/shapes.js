// Families are told apart by colour and by shape.
"use strict";

saejax.shapes = (() => {
  const { svg } = saejax;
  const N_COLOURS = 7;
  const PATHS = [
    "M0-5A5 5 0 1 1 0 5A5 5 0 1 1 0-5Z",
    "M-4.5-4.5H4.5V4.5H-4.5Z",
    "M0-5.5L5.5 4.5H-5.5Z",
    "M0-6L6 0L0 6L-6 0Z",
    "M0 5.5L5.5-4.5H-5.5Z",
    "M-1.8-5.4H1.8V-1.8H5.4V1.8H1.8V5.4H-1.8V1.8H-5.4V-1.8H-1.8Z",
  ];

  // shape(i): the mark of the i-th family, round the origin
  const shape = (i) => svg("path", {
    class: `point category-${i % N_COLOURS}`, d: PATHS[(i + Math.floor(i / N_COLOURS)) % PATHS.length] });
  const legend = (families) => saejax.el("ul", { class: "legend" }, families.map((family, i) =>
    saejax.el("li", {}, svg("svg", { viewBox: "-8 -8 16 16", "aria-hidden": "true" }, shape(i)), family)));
  return { shape, legend };
})();
