// The controls above the table, each telling what it changes of the page's state.
"use strict";

saejax.filters = (() => {
  const { el } = saejax;
  const PLACES = { all: "everywhere", label: "in labels", fires: "in tokens it fires on", boosted: "in tokens it boosts" };
  const LABELS = { "": "any label", yes: "with a label", no: "without" };

  const select = (name, value, options, onchange) => el("select", { class: "field", "aria-label": name,
    onchange: (event) => onchange(event.target.value) },
    Object.entries(options).map(([key, text]) => el("option", { value: key, selected: key === value }, text)));

  // filters(state, clusters, change): {box, search, show(state)}; change({q: "array"}) and the like
  return (state, clusters, change) => {
    const search = el("input", { class: "field grow", type: "search", id: "search", "aria-label": "Search the latents",
      placeholder: "Search labels, tokens, numbers  ( / )", autocomplete: "off", spellcheck: "false", value: state.q,
      oninput: () => change({ q: search.value }) });
    const where = select("Where to search", state.where, PLACES, (value) => change({ where: value }));
    const labelled = select("Labels", state.labelled, LABELS, (value) => change({ labelled: value }));
    const names = { "": "any cluster", ...Object.fromEntries(clusters.map((c) => [`${c}`, `cluster ${c}`])) };
    const cluster = select("Cluster", String(state.cluster ?? ""), names,
      (value) => change({ cluster: value === "" ? null : Number(value) }));
    const show = (now) => {
      for (const [control, value] of [[search, now.q], [where, now.where], [labelled, now.labelled], [cluster, now.cluster ?? ""]]) {
        control.value = value;
      }
    };
    const box = el("div", { class: "controls" }, search, where, labelled, clusters.length > 1 ? cluster : null);
    return { box, search, show };
  };
})();
