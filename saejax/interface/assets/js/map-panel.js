// The map with its controls: what its colours say, and how large it is.
"use strict";

saejax.mapPanel = (() => {
  const { el } = saejax;
  const LEGENDS = {
    density: () => ["rare", el("span", { class: "gradient", "aria-hidden": "true" }), "frequent"],
    cluster: () => ["numbers name the clusters"],
  };

  // mapPanel(map, kind, name): `kind` of map, such as "umap", of the autoencoder of that name
  return (map, kind, name) => {
    const legend = el("p", { class: "small soft" }, LEGENDS.density());
    const colour = (by) => {
      map.colour(by);
      legend.replaceChildren(...LEGENDS[by]());
    };
    const choice = el("fieldset", { class: "choice" }, el("legend", { class: "spoken" }, "Colour by"),
      Object.keys(LEGENDS).map((by) => el("label", {},
        el("input", { type: "radio", name: "colour", value: by, checked: by === "density", onchange: () => colour(by) }), by)));
    const button = (text, says, factor) =>
      el("button", { class: "button", type: "button", "aria-label": says, onclick: () => map.zoom(factor) }, text);
    return el("section", { class: "panel", "aria-labelledby": "map-title" },
      el("h2", { id: "map-title" }, "Decoder directions"),
      el("p", { class: "small faint" }, `${kind.toUpperCase()} of ${name}’s dictionary; a click opens a latent`),
      map.box,
      el("div", { class: "map-under" }, choice, legend,
        el("div", { class: "controls" }, button("−", "Zoom out", 1 / 1.6), button("+", "Zoom in", 1.6))));
  };
})();
