// One example of a latent: the peak's activation, the text round it, where it is from; on request the whole of it as numbers.
"use strict";

saejax.example = (() => {
  const { el, format, token, tokenText } = saejax;
  const [BEFORE, AFTER] = [24, 14]; // tokens shown round the peak, of a long stretch
  const MARKED = 0.5; // of the largest change: what is said in words

  // unpack(examples, i, changesANat): one example of the columns that a shard has
  const unpack = (examples, i, changesANat, vocabulary) => {
    const tokens = examples.tokens[i];
    const activations = new Array(tokens.length).fill(0);
    const pairs = examples.activations[i];
    for (let j = 0; j < pairs.length; j += 2) activations[pairs[j]] = pairs[j + 1];
    const changes = examples.changes[i].map((change) => (change === null ? null : change / changesANat));
    const items = tokens.map((id, j) => ({ token: vocabulary(id), activation: activations[j], change: changes[j] ?? null }));
    const one = Object.fromEntries(Object.entries(examples).map(([name, column]) => [name, column[i]]));
    return { ...one, items, largest: Math.max(0, ...changes.map(Math.abs)) };
  };

  const source = (one) => [
    one.source, `document ${format.count(one.document)}`, `token ${format.count(one.position)}`,
  ].filter(Boolean).join(" · ");

  // The underlines in words, for who does not see them.
  const effects = (one) => {
    const told = one.items.filter(({ change }) => change !== null && Math.abs(change) >= MARKED * one.largest && change !== 0);
    if (!told.length) return "";
    return `Without the latent: ${told.slice(0, 4).map((item) => `loss at ${token.spoken(item.token)} ${format.signed(item.change)}`).join(", ")} nats.`;
  };

  const values = (one) => el("div", { class: "scroller values", tabindex: 0, role: "region", "aria-label": "Values of every token" },
    el("table", { class: "table" },
      el("caption", { class: "spoken" }, "Every token, its activation, and the change of its loss without the latent"),
      el("tbody", {},
        el("tr", {}, el("th", { scope: "row" }, "token"), one.items.map((item, j) =>
          el("th", { scope: "col", class: j === one.peak ? "peak" : null }, token.chip(item.token)))),
        el("tr", {}, el("th", { scope: "row" }, "activation"), one.items.map(({ activation }) =>
          el("td", { class: "number" }, activation ? format.number(activation) : el("span", { class: "faint" }, "0")))),
        el("tr", {}, el("th", { scope: "row" }, "loss change"), one.items.map(({ change }) =>
          el("td", { class: "number" }, change === null ? "–" : change ? format.signed(change, 2) : el("span", { class: "faint" }, "0")))))));

  // The table is wider than its place: begin where the latent fires.
  const showPeak = (more) => {
    const [box, cell] = [more.querySelector(".values"), more.querySelector(".peak")];
    box.scrollLeft = cell.offsetLeft - box.clientWidth / 2;
  };

  const moved = (title, ids, by, vocabulary) => el("p", { class: "small moved" }, el("span", { class: "soft" }, title),
    ids.map((id, j) => el("span", { class: "pair" }, token.chip(vocabulary(id)), ` ${format.signed(by[j] * 100, 2)}%`)));

  const details = (one, vocabulary) => el("div", { class: "details" },
    one.fallen.length ? moved("next token, less likely without it", one.fallen, one.fallen_by, vocabulary) : "",
    one.risen.length ? moved("more likely", one.risen, one.risen_by, vocabulary) : "",
    values(one),
    el("p", { class: "small faint" }, `address ${one.address} in the held-out stream`));

  // example(one, {activation, change}, vocabulary): `activation` and `change` are drawn strongest
  const example = (one, scale, vocabulary) => {
    const long = one.items.length > BEFORE + AFTER + 1;
    const from = long ? Math.max(0, one.peak - BEFORE) : 0;
    const to = long ? Math.min(one.items.length, one.peak + AFTER + 1) : one.items.length;
    const text = (start, stop) => {
      const made = tokenText(one.items.slice(start, stop), { ...scale, peak: one.peak - start });
      if (start > 0) made.prepend(el("span", { class: "faint", "aria-hidden": "true" }, "… "));
      if (stop < one.items.length) made.append(el("span", { class: "faint", "aria-hidden": "true" }, " …"));
      return made;
    };
    const holder = el("div", {}, text(from, to));
    const more = el("div", { hidden: true });
    const button = el("button", { class: "button quiet more", type: "button", "aria-expanded": "false", title: "All values",
      "aria-label": "All values of this example", onclick: () => {
        const open = more.hidden;
        if (open && !more.firstChild) more.append(details(one, vocabulary));
        more.hidden = !open;
        if (open) showPeak(more);
        button.setAttribute("aria-expanded", String(open));
        if (long) holder.replaceChildren(open ? text(0, one.items.length) : text(from, to));
      } }, "+");
    const peak = one.items[one.peak];
    return el("li", { class: "example" },
      el("p", { class: "peak-value" }, el("span", { class: "spoken" }, `Activation at ${token.spoken(peak.token)} `), format.number(peak.activation)),
      el("div", { class: "example-body" }, holder,
        el("p", { class: "spoken" }, effects(one)),
        el("p", { class: "small faint source" }, source(one)), more),
      button);
  };
  return Object.assign(example, { unpack });
})();
