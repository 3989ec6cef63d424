// index.html: the sweep.
"use strict";

(() => {
  const { el, byId, format, shell, shapes, keys } = saejax;
  const METRICS = {
    ce_recovered: { metric: "ce_recovered", title: "Cross-entropy recovered", sign: 1 },
    fvu: { metric: "fvu", title: "Fraction of variance unexplained", sign: -1 },
  };
  const href = (one) => `member.html#${encodeURIComponent(one.folder)}`;

  const columns = [
    { key: "name", title: "Autoencoder", kind: "text", value: (m) => m.name,
      cell: (m) => (m.folder ? el("a", { href: href(m) }, m.name) : el("span", { class: "faint" }, m.name)) },
    { key: "l0", title: "L0", kind: "number", down: true, value: (m) => m.metrics.l0, cell: (m) => format.number(m.metrics.l0) },
    { key: "ce", title: "CE recovered", kind: "number", down: true, hint: "share of the cross-entropy that removing the site costs",
      value: (m) => m.metrics.ce_recovered, cell: (m) => format.percent(m.metrics.ce_recovered) },
    { key: "fvu", title: "FVU", kind: "number", hint: "fraction of variance unexplained",
      value: (m) => m.metrics.fvu, cell: (m) => format.percent(m.metrics.fvu) },
    { key: "dead", title: "Dead", kind: "number", hint: "share of latents that never fire on held-out text",
      value: (m) => m.metrics.dead_fraction, cell: (m) => format.percent(m.metrics.dead_fraction) },
    { key: "latents", title: "Latents", kind: "number", down: true, value: (m) => m.n_latents, cell: (m) => format.count(m.n_latents) },
    { key: "labelled", title: "Labelled", kind: "number", down: true, hint: "latents with an automatic label",
      value: (m) => m.n_labelled / m.n_latents, cell: (m) => (m.folder ? format.percent(m.n_labelled / m.n_latents) : "–") },
    { key: "note", title: "", kind: "text note", sorts: false, cell: (m) =>
      (m.recommended.length ? el("span", { class: "tag", title: m.recommended.join("; ") }, "recommended") :
        m.on_frontier ? el("span", { class: "faint" }, "on the frontier") : "") },
  ];

  const plot = (members, families) => {
    const holder = el("div");
    const show = (metric) => holder.replaceChildren(saejax.pareto(members, METRICS[metric], families, href));
    const choice = el("fieldset", { class: "choice" }, el("legend", { class: "spoken" }, "What is plotted against L0"),
      Object.values(METRICS).map(({ metric, title }) => el("label", {},
        el("input", { type: "radio", name: "metric", checked: metric === "ce_recovered", onchange: () => show(metric) }), title)));
    show("ce_recovered");
    return el("section", { class: "panel", "aria-labelledby": "plot-title" },
      el("div", { class: "panel-head" }, el("h2", { id: "plot-title" }, "Reconstruction against sparsity"), choice),
      holder,
      el("div", { class: "under" }, shapes.legend(families),
        el("p", { class: "small faint" }, "Thick line: the frontier. Ring: recommended. Bars: 95% intervals over documents.")));
  };

  const draw = (sweep, live) => {
    shell.bar([], live);
    const { members } = sweep;
    const families = [...new Set(members.map((one) => one.family))];
    const measured = members.some((one) => one.metrics.l0 > 0);
    const collected = members.filter((one) => one.folder);
    const reasons = members.filter((one) => one.recommended.length)
      .map((one) => el("p", {}, "Recommended: ", one.folder ? el("a", { href: href(one) }, one.name) : one.name, `, ${one.recommended[0]}.`));
    byId("page").replaceChildren(
      el("div", { class: "lead" },
        el("h1", {}, "What the autoencoders learned"),
        el("p", {}, `${format.plural(members.length, "sparse autoencoder")} on ${sweep.hook_names.join(", ")} of ${sweep.model}, `
          + `trained on ${sweep.dataset}; features of ${collected.length === members.length ? "all" : collected.length}.`),
        reasons),
      measured ? plot(members, families) : el("p", { class: "message" }, "Nothing was measured: run --tasks=evaluate for the plot."),
      el("section", { class: "members", "aria-labelledby": "members-title" },
        el("h2", { id: "members-title" }, "Autoencoders"),
        saejax.sortedTable({ caption: "The autoencoders and their held-out metrics", columns, rows: members })));
  };

  Promise.all([saejax.load("data/sweep.js"), saejax.load("data/live.js")])
    .then(([sweep, live]) => draw(sweep, live))
    .catch(shell.fail);
  keys.bind(["/"], "to the list of autoencoders", () => document.querySelector(".members a")?.focus());
})();
