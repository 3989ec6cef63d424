// The distribution of the next token, without the turned latents and with them: bars and numbers.
"use strict";

saejax.nextToken = (() => {
  const { el, format, token } = saejax;

  const bars = (before, after, largest, edited) => el("div", { class: "bars", "aria-hidden": "true" },
    el("span", { class: "before", "--share": before / largest }),
    edited ? el("span", { class: "after", "--share": after / largest }) : "");

  // nextToken(): {box, show(answer, edited)}
  return () => {
    const title = el("h2", { id: "next-title" });
    const about = el("p", { class: "small faint" });
    const body = el("tbody");
    const after = el("th", { scope: "col", class: "number" }, "turned");
    const table = el("table", { class: "table next" },
      el("caption", { class: "spoken" }, "Probabilities of the next token, before and after latents are turned"),
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "token"), el("td", {}), el("th", { scope: "col", class: "number" }, "model"), after)),
      body);
    const box = el("section", { class: "panel", "aria-labelledby": "next-title" }, title, about, table);

    const show = ({ next, kl, token: at }, edited) => {
      const largest = Math.max(...next.before, ...next.after);
      title.replaceChildren("Next after ", token.chip({ text: at[0], escaped: at[1] }));
      about.textContent = edited ? `divergence of the turned model: ${format.number(kl)} nats` : "the ten most probable tokens";
      after.hidden = !edited;
      const order = next.tokens.map((_, i) => i).sort((i, j) => next.before[j] - next.before[i]);
      body.replaceChildren(...order.map((i) => el("tr", {},
        el("th", { scope: "row" }, token.chip({ text: next.tokens[i][0], escaped: next.tokens[i][1] })),
        el("td", { class: "bars-cell" }, bars(next.before[i], next.after[i], largest, edited)),
        el("td", { class: "number" }, format.percent(next.before[i], 2)),
        el("td", { class: "number after-number", hidden: !edited }, format.percent(next.after[i], 2)))));
    };
    return { box, show };
  };
})();
