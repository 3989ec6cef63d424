// member.html: one autoencoder's latents: table, histogram of densities, map.
"use strict";

(() => {
  const { el, byId, address, format, shell, keys, latentIndex, order } = saejax;
  const DEFAULTS = { q: "", where: "all", sort: "latent", down: false, labelled: "", cluster: null, low: null, high: null };

  const fromAddress = (query) => ({
    ...DEFAULTS,
    q: query.get("q") ?? "",
    where: ["label", "fires", "boosted"].includes(query.get("where")) ? query.get("where") : "all",
    sort: ["label", "fires", "density", "max", "cluster"].includes(query.get("sort")) ? query.get("sort") : "latent",
    down: query.get("down") === "1",
    labelled: ["yes", "no"].includes(query.get("labelled")) ? query.get("labelled") : "",
    cluster: /^\d+$/.test(query.get("cluster") ?? "") ? Number(query.get("cluster")) : null,
    low: Number(query.get("low")) || null,
    high: Number(query.get("high")) || null,
  });
  const toAddress = (folder, state) => address.member(folder, {
    q: state.q,
    where: state.where === "all" ? "" : state.where,
    sort: state.sort === "latent" && !state.down ? "" : state.sort,
    down: state.down ? 1 : "",
    labelled: state.labelled,
    cluster: state.cluster,
    low: state.low?.toPrecision(6),
    high: state.high?.toPrecision(6),
  });

  const select = (name, value, options, onchange) => el("select", { class: "field", "aria-label": name,
    onchange: (event) => onchange(event.target.value) },
    Object.entries(options).map(([key, text]) => el("option", { value: key, selected: key === value }, text)));

  const facts = (row, about) => el("dl", { class: "facts" }, [
    ["Latents", format.count(about.n_latents)],
    ["That fire", format.count(about.n_alive)],
    ["With a label", format.count(about.n_labelled)],
    ["L0", format.number(row.metrics.l0)],
    ["Cross-entropy recovered", format.percent(row.metrics.ce_recovered)],
    ["Variance unexplained", format.percent(row.metrics.fvu)],
    ["Positions seen", format.count(about.meta.n_rows)],
  ].filter(([, value]) => value !== "–").map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));

  const mapPanel = (map, about, row) => {
    const legends = {
      density: el("p", { class: "small soft" }, "rare", el("span", { class: "gradient", "aria-hidden": "true" }), "frequent"),
      cluster: el("p", { class: "small soft" }, "numbers name the clusters"),
    };
    const legend = el("div", {}, legends.density);
    const colour = (by) => {
      map.colour(by);
      legend.replaceChildren(legends[by]);
    };
    const choice = el("fieldset", { class: "choice" }, el("legend", { class: "spoken" }, "Colour by"),
      ["density", "cluster"].map((by) => el("label", {},
        el("input", { type: "radio", name: "colour", value: by, checked: by === "density", onchange: () => colour(by) }), by)));
    const button = (text, name, factor) =>
      el("button", { class: "button", type: "button", "aria-label": name, onclick: () => map.zoom(factor) }, text);
    return el("section", { class: "panel", "aria-labelledby": "map-title" },
      el("h2", { id: "map-title" }, "Decoder directions"),
      el("p", { class: "small faint" }, `${(about.meta.map ?? "two dimensions").toUpperCase()} of ${row.name}’s dictionary; Ctrl and the wheel zoom`),
      map.box,
      el("div", { class: "map-under" }, choice, legend, el("div", { class: "controls" }, button("−", "Zoom out", 1 / 1.6), button("+", "Zoom in", 1.6))));
  };

  const build = (context) => {
    const { row, about, index, vocabulary, folder, state } = context;
    const find = latentIndex.searcher(index, vocabulary);
    const sorting = { key: state.sort, down: state.down };
    const status = el("p", { class: "small soft", role: "status" });
    const clear = el("button", { class: "button", type: "button", onclick: () => change({ ...DEFAULTS, sort: state.sort, down: state.down }, true) }, "Show all");

    const describe = (i) => `Latent ${i}${index.label[i] ? ` · ${index.label[i]}` : ""}\nfires on ${format.percent(index.density[i])}, cluster ${index.cluster[i]}`;
    const map = saejax.map(index, { describe, open: (i) => { location.href = address.latent(folder, i); },
      label: `Map of ${format.count(index.n)} decoder directions; the table has the same latents` });
    const table = saejax.latentTable({ index, vocabulary, folder }, {
      state: sorting, onsort: (sort, down) => change({ sort, down }), onmark: map.mark });
    const brush = saejax.brush(index.density, (range) => change({ low: range?.[0] ?? null, high: range?.[1] ?? null }));
    const search = el("input", { class: "field grow", type: "search", id: "search", placeholder: "Search labels, tokens, numbers  ( / )",
      "aria-label": "Search the latents", autocomplete: "off", spellcheck: "false", value: state.q, oninput: () => change({ q: search.value }) });
    const where = select("Where to search", state.where,
      { all: "everywhere", label: "in labels", fires: "in tokens it fires on", boosted: "in tokens it boosts" }, (value) => change({ where: value }));
    const labelled = select("Labels", state.labelled, { "": "any label", yes: "with a label", no: "without" }, (value) => change({ labelled: value }));
    const clusters = [...new Set(index.cluster)].sort((a, b) => a - b);
    const cluster = select("Cluster", String(state.cluster ?? ""),
      { "": "any cluster", ...Object.fromEntries(clusters.map((c) => [`${c}`, `cluster ${c}`])) }, (value) => change({ cluster: value === "" ? null : Number(value) }));

    const update = () => {
      const ids = latentIndex.filter(index, find(state.q, state.where), state);
      latentIndex.sort(ids, state.sort, state.down, index, vocabulary);
      Object.assign(sorting, { key: state.sort, down: state.down });
      table.show(ids);
      map.show(ids);
      order.keep(folder, ids);
      const range = state.low === null ? "" : `, density ${format.percent(state.low, 2)} to ${format.percent(state.high, 2)}`;
      status.textContent = `${format.count(ids.length)} of ${format.plural(index.n, "latent")}${range}`;
      clear.hidden = ids.length === index.n;
      address.replace(toAddress(folder, state));
    };
    const change = (next, controls = false) => {
      Object.assign(state, next);
      if (controls) {
        Object.assign(search, { value: state.q });
        Object.assign(where, { value: state.where });
        Object.assign(labelled, { value: state.labelled });
        Object.assign(cluster, { value: state.cluster ?? "" });
        brush.set(null);
      }
      update();
    };

    byId("page").replaceChildren(
      el("div", { class: "lead" }, el("h1", {}, row.name), facts(row, about)),
      el("div", { class: "member" },
        el("div", { class: "pictures" },
          el("section", { class: "panel", "aria-labelledby": "density-title" },
            el("h2", { id: "density-title" }, "Density"),
            el("p", { class: "small faint" }, `drag to filter; ${about.n_alive < index.n ? `${format.count(index.n - about.n_alive)} never fire` : "all fire"}`), brush.box),
          mapPanel(map, about, row)),
        el("section", { class: "list", "aria-label": "Latents" },
          el("div", { class: "controls" }, search, where, labelled, clusters.length > 1 ? cluster : null),
          el("div", { class: "controls found" }, status, clear),
          table.box)));
    if (state.low !== null) brush.set([state.low, state.high]);
    update();
    keys.bind(["/"], "search", () => { search.focus(); search.select(); });
    keys.bind(["j", "ArrowDown"], "next latent of the table", () => table.step(1));
    keys.bind(["k", "ArrowUp"], "previous latent of the table", () => table.step(-1));
    keys.bind(["Enter"], "open it", () => document.activeElement?.click?.());
    keys.bind(["u"], "up to the overview", () => { location.href = "index.html"; });
  };

  const start = async () => {
    const { folder, query } = address.read();
    const [{ row, about }, live] = await Promise.all([address.about(folder), saejax.load("data/live.js")]);
    shell.title(row.name);
    shell.bar([{ text: row.name }], live);
    const [vocabulary, index] = await Promise.all([saejax.vocabulary(about.vocabulary), latentIndex.load(folder, about)]);
    build({ row, about, index, vocabulary, folder, state: fromAddress(query) });
  };
  start().catch(shell.fail);
  addEventListener("hashchange", () => location.reload());
})();
