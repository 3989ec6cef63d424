// member.html: one autoencoder's latents: table, histogram of densities, map.
"use strict";

(() => {
  const { el, byId, address, format, shell, keys, latentIndex, memberState, order } = saejax;

  const facts = (row, about) => el("dl", { class: "facts" }, [
    ["Latents", format.count(about.n_latents)],
    ["That fire", format.count(about.n_alive)],
    ["With a label", format.count(about.n_labelled)],
    ["L0", format.number(row.metrics.l0)],
    ["Cross-entropy recovered", format.percent(row.metrics.ce_recovered)],
    ["Variance unexplained", format.percent(row.metrics.fvu)],
    ["Positions seen", format.count(about.meta.n_rows)],
  ].filter(([, value]) => value !== "–").map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));

  const makeMap = (index, folder) => saejax.map(index, {
    describe: (i) => `Latent ${i}${index.label[i] ? ` · ${index.label[i]}` : ""}\n`
      + `fires on ${format.percent(index.density[i])}, cluster ${index.cluster[i]}`,
    open: (i) => { location.href = address.latent(folder, i); },
    label: `Map of ${format.count(index.n)} decoder directions; the table has the same latents`,
  });

  const layout = ({ row, about }, { brush, map, filters, status, clear, table }) => {
    const never = about.n_latents - about.n_alive;
    byId("page").replaceChildren(
      el("div", { class: "lead" }, el("h1", {}, row.name), facts(row, about)),
      el("div", { class: "member" },
        el("div", { class: "pictures" },
          el("section", { class: "panel", "aria-labelledby": "density-title" },
            el("h2", { id: "density-title" }, "Density"),
            el("p", { class: "small faint" }, `drag to filter; ${never ? `${format.count(never)} never fire` : "all fire"}`), brush.box),
          saejax.mapPanel(map, about.meta.map, row.name)),
        el("section", { class: "list", "aria-label": "Latents" },
          filters.box, el("div", { class: "controls found" }, status, clear), table.box)));
  };

  const bind = (table, search) => {
    keys.bind(["/"], "search", () => { search.focus(); search.select(); });
    keys.bind(["j", "ArrowDown"], "next latent of the table", () => table.step(1));
    keys.bind(["k", "ArrowUp"], "previous latent of the table", () => table.step(-1));
    keys.bind(["u"], "up to the overview", () => { location.href = "index.html"; });
  };

  const build = (context, state) => {
    const { index, vocabulary, folder } = context;
    const find = latentIndex.searcher(index, vocabulary);
    const change = (next) => {
      Object.assign(state, next);
      const ids = latentIndex.filter(index, find(state.q, state.where), state);
      latentIndex.sort(ids, state.sort, state.down, index, vocabulary);
      parts.table.show(ids);
      parts.map.show(ids);
      order.keep(folder, ids);
      const range = state.low === null ? "" : `, density ${format.percent(state.low, 2)} to ${format.percent(state.high, 2)}`;
      parts.status.textContent = `${format.count(ids.length)} of ${format.plural(index.n, "latent")}${range}`;
      parts.clear.hidden = ids.length === index.n;
      address.replace(memberState.write(folder, state));
    };
    const showAll = () => {
      change(memberState.FILTERS);
      parts.filters.show(state);
      parts.brush.set(null);
    };
    const map = makeMap(index, folder);
    const parts = {
      map,
      table: saejax.latentTable(context, { state, onsort: (sort, down) => change({ sort, down }), onmark: map.mark }),
      brush: saejax.brush(index.density, (range) => change({ low: range?.[0] ?? null, high: range?.[1] ?? null })),
      filters: saejax.filters(state, [...new Set(index.cluster)].sort((a, b) => a - b), change),
      status: el("p", { class: "small soft", role: "status" }),
      clear: el("button", { class: "button", type: "button", onclick: showAll }, "Show all"),
    };
    layout(context, parts);
    if (state.low !== null) parts.brush.set([state.low, state.high]);
    change({});
    bind(parts.table, parts.filters.search);
  };

  const start = async () => {
    const { folder, query } = address.read();
    const [{ row, about }, live] = await Promise.all([address.about(folder), saejax.load("data/live.js")]);
    shell.title(row.name);
    shell.bar([{ text: row.name }], live);
    const [vocabulary, index] = await Promise.all([saejax.vocabulary(about.vocabulary), latentIndex.load(folder, about)]);
    build({ row, about, index, vocabulary, folder }, memberState.read(query));
  };
  start().catch(shell.fail);
  addEventListener("hashchange", () => location.reload());
})();
