// A table of a few rows, whose headers sort it.
"use strict";

saejax.sortedTable = (() => {
  const { el } = saejax;

  const compare = (a, b) => {
    if (a === b) return 0;
    if (a === null || a === undefined) return 1;
    if (b === null || b === undefined) return -1;
    return typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
  };

  // header({title, key, kind}, state, sort): a cell with a button; `state` is {key, down}
  const header = (column, state, sort) => {
    const own = column.key === state.key;
    const direction = own ? (state.down ? "descending" : "ascending") : null;
    const arrow = el("span", { class: "arrow", "aria-hidden": "true" }, own ? (state.down ? "↓" : "↑") : "");
    return el("th", { scope: "col", role: "columnheader", class: column.kind, "aria-sort": direction },
      column.sorts === false ? column.title :
        el("button", { type: "button", class: "sort", onclick: () => sort(column), title: column.hint ?? null },
          column.title, arrow));
  };

  // sortedTable({caption, columns: [{key, title, kind, value(row), cell(row), down}], rows, mark(row)})
  const sortedTable = ({ caption, columns, rows, mark = () => "" }) => {
    const state = { key: null, down: false };
    const head = el("thead");
    const body = el("tbody");
    const draw = () => {
      head.replaceChildren(el("tr", {}, columns.map((column) => header(column, state, sort))));
      const column = columns.find(({ key }) => key === state.key);
      const shown = column ? [...rows].sort((a, b) => compare(column.value(a), column.value(b)) * (state.down ? -1 : 1)) : rows;
      body.replaceChildren(...shown.map((row) => el("tr", { class: mark(row) || null }, columns.map((one, i) =>
        el(i ? "td" : "th", { class: one.kind, scope: i ? null : "row" }, one.cell(row))))));
    };
    const sort = (column) => {
      Object.assign(state, { key: column.key, down: column.key === state.key ? !state.down : Boolean(column.down) });
      draw();
      [...head.querySelectorAll("button")].find((button) => button.firstChild.textContent === column.title)?.focus();
    };
    draw();
    return el("div", { class: "scroller", tabindex: 0, role: "region", "aria-label": caption },
      el("table", { class: "table" }, el("caption", { class: "spoken" }, caption), head, body));
  };

  return Object.assign(sortedTable, { header, compare });
})();
