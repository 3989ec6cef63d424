// The latents as a table of which only the rows in sight are made: 24,576 rows cost no more than thirty.
"use strict";

saejax.latentTable = (() => {
  const { el, token, label, format, address, sortedTable } = saejax;
  const SPARE = 6; // rows made above and below what is in sight

  const COLUMNS = [
    { key: "latent", title: "Latent", kind: "id" },
    { key: "label", title: "Automatic label", kind: "text" },
    { key: "fires", title: "Fires on", kind: "text fires", hint: "tokens at the peaks of the strongest examples" },
    { key: "density", title: "Density", kind: "number", down: true, hint: "share of positions on which it fires" },
    { key: "max", title: "Max", kind: "number", down: true, hint: "largest activation" },
    { key: "cluster", title: "Cluster", kind: "number cluster" },
    { key: "boosted", title: "Boosts", kind: "text boosted", sorts: false, hint: "output tokens it makes likelier" },
  ];

  const chips = (ids, vocabulary) => el("span", { class: "chips" }, ids.map((id) => token.chip(vocabulary(id))));

  const cell = (column, i, { index, vocabulary, folder }) => {
    switch (column.key) {
      case "latent": return el("a", { href: address.latent(folder, i), "data-latent": i }, String(i));
      case "label": return index.label[i] ? el("span", { class: "labelled" }, label(index.label[i])) : el("span", { class: "faint" }, "–");
      case "fires": return index.density[i] ? chips(index.fires[i], vocabulary) : el("span", { class: "faint" }, "never fires");
      case "boosted": return chips(index.boosted[i], vocabulary);
      case "density": return format.percent(index.density[i]);
      case "cluster": return String(index.cluster[i] ?? "–");
      default: return format.number(index.max[i]);
    }
  };

  // latentTable(about, {state, onsort, onmark}): {box, show(ids), step(±1)}; `about` is {index, vocabulary, folder},
  // `state` has {sort, down}, of which onsort(sort, down) asks for others
  const latentTable = (about, { state, onsort, onmark }) => {
    let ids = [];
    let made = new Map(); // place in ids → row
    let rowHeight = 40;
    const spacer = () => el("tr", { "aria-hidden": "true", class: "spacer" }, el("td"));
    const [above, below] = [spacer(), spacer()];
    const head = el("thead", { role: "rowgroup" });
    const body = el("tbody", { role: "rowgroup" }, above, below);
    const table = el("table", { class: "table latents", role: "table" },
      el("caption", { class: "spoken" }, "Latents; the headers sort"),
      el("colgroup", {}, COLUMNS.map(({ key }) => el("col", { class: `col-${key}` }))), head, body);
    const box = el("div", { class: "scroller window", tabindex: 0, role: "region", "aria-label": "Table of latents" }, table);

    const row = (place) => el("tr", { role: "row", "aria-rowindex": place + 2 }, COLUMNS.map((column, j) =>
      el(j ? "td" : "th", { class: column.kind, role: j ? "cell" : "rowheader", scope: j ? null : "row" }, cell(column, ids[place], about))));

    const draw = () => {
      const top = Math.max(0, Math.floor(box.scrollTop / rowHeight) - SPARE);
      const bottom = Math.min(ids.length, Math.ceil((box.scrollTop + box.clientHeight) / rowHeight) + SPARE);
      const next = new Map();
      for (let place = top; place < bottom; place++) next.set(place, made.get(place) ?? row(place));
      for (const [place, old] of made) if (!next.has(place)) old.remove();
      let before = above;
      for (const one of next.values()) {
        if (before.nextSibling !== one) before.after(one); // rows that stay keep the focus
        before = one;
      }
      made = next;
      above.firstChild.style.height = `${top * rowHeight}px`;
      below.firstChild.style.height = `${Math.max(0, ids.length - bottom) * rowHeight}px`;
    };

    const sort = (column) => {
      onsort(column.key, column.key === state.sort ? !state.down : Boolean(column.down));
      head.querySelector("[aria-sort] button")?.focus();
    };
    const drawHead = () => head.replaceChildren(el("tr", { role: "row", "aria-rowindex": 1 },
      COLUMNS.map((column) => sortedTable.header(column, { key: state.sort, down: state.down }, sort))));

    // show(ids): from the top, unless only their order is asked to stay
    const show = (next) => {
      ids = next;
      for (const old of made.values()) old.remove();
      made = new Map();
      rowHeight = parseFloat(getComputedStyle(table).getPropertyValue("--row")) || 40;
      table.setAttribute("aria-rowcount", ids.length + 1);
      box.scrollTop = 0;
      drawHead();
      draw();
    };

    // step(1): the focus goes to the next latent's link
    const step = (by) => {
      const here = document.activeElement?.closest?.("tr[aria-rowindex]");
      const at = here && body.contains(here) ? Number(here.getAttribute("aria-rowindex")) - 2 + by : 0;
      const place = Math.min(Math.max(at, 0), ids.length - 1);
      if (place < 0) return;
      const edge = [place * rowHeight, (place + 2) * rowHeight - box.clientHeight];
      if (box.scrollTop > edge[0]) box.scrollTop = edge[0];
      if (box.scrollTop < edge[1]) box.scrollTop = edge[1];
      draw();
      made.get(place).querySelector("a").focus({ preventScroll: true });
    };

    box.addEventListener("scroll", draw, { passive: true });
    new ResizeObserver(() => ids.length && draw()).observe(box);
    const markOf = (event) => {
      const link = event.target.closest("tr")?.querySelector("a");
      onmark(link ? Number(link.dataset.latent) : -1);
    };
    body.addEventListener("pointerover", markOf);
    body.addEventListener("focusin", markOf);
    body.addEventListener("pointerleave", () => onmark(-1));
    return { box, show, step };
  };
  return latentTable;
})();
