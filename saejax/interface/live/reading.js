// One autoencoder reading the text: tokens coloured by a latent, its activation along the text, the strongest at a token.
"use strict";

saejax.reading = (() => {
  const { el, format, scales, chart, histogram, strongest, tokenText, address, tooltip } = saejax;
  const HEIGHT = 56;

  // Activation along the text, a bar a token
  const along = (values) => chart("Activation along the text; the tokens above have the same values", HEIGHT, (picture, width) => {
    const x = scales.linear(0, values.length, 0, width);
    const bottom = HEIGHT - 6;
    histogram.bars(picture, values, x, 4, bottom);
    chart.bottomAxis(picture, bottom, 0, width, []);
  }).box;

  const most = (values) => values.reduce((a, b) => Math.max(a, b), 0);

  // reading({look(i), pin(i), pick(latent), turn(latent)}): a column. Looked at: the token under the pointer or the focus.
  const reading = (on) => {
    const head = el("div", { class: "reading-head" });
    const facts = el("p", { class: "small faint" });
    const text = el("div", { class: "reading-text" });
    const strip = el("div");
    const legend = el("p", { class: "token-legend" });
    const list = el("div", { class: "reading-list" });
    const box = el("section", { class: "panel reading" }, head, facts, text, legend, strip, list);
    let now = null; // {answer, changes, member, chosen, pinned}
    let listed = null; // the token whose latents are listed

    const tokenAt = (event) => {
      const found = event.target.closest?.(".reading-text .token");
      return found ? Number(found.dataset.i) : null;
    };
    for (const kind of ["pointerover", "focusin"]) text.addEventListener(kind, (event) => tokenAt(event) !== null && on.look(tokenAt(event)));
    text.addEventListener("pointerleave", () => on.look(null));
    // A list that is being clicked stays what it is
    text.addEventListener("focusout", (event) => !list.contains(event.relatedTarget) && on.look(null));
    text.addEventListener("click", (event) => tokenAt(event) !== null && on.pin(tokenAt(event)));
    text.addEventListener("keydown", (event) => {
      if (tokenAt(event) === null || !["Enter", " "].includes(event.key)) return;
      event.preventDefault();
      on.pin(tokenAt(event));
    });

    const title = ({ member, chosen, answer }) => {
      const name = chosen === null ? "No latent" : `Latent ${chosen}`;
      const linked = member.folder && chosen !== null ? el("a", { href: address.latent(member.folder, chosen) }, name) : name;
      const label = answer.labels[chosen];
      return [el("h2", {}, linked), label ? el("p", { class: "small label" }, saejax.label(label)) : ""];
    };

    const about = ({ member, chosen, answer, values }) => {
      const largest = answer.max_activations[chosen];
      return [
        member.name, answer.l0 ? `${format.number(answer.l0)} latents a token` : "",
        answer.fvu === null ? "" : `variance unexplained ${format.percent(answer.fvu)}`,
        chosen === null ? "" : `here up to ${format.number(most(values))}${largest ? `, at most ${format.number(largest)}` : ""}`,
      ].filter(Boolean).join(" · ");
    };

    const showList = (i) => {
      const { answer, member, chosen } = now;
      const at = Math.min(i, answer.tokens.length - 1);
      listed = at;
      const shown = answer.tokens[at];
      const options = { answer, chosen, folder: member.folder, pick: on.pick, turn: on.turn };
      const focused = document.activeElement?.closest?.(".reading-list") === list ? document.activeElement.dataset.latent : null;
      list.replaceChildren(...strongest(shown && { text: shown[0], escaped: shown[1] }, answer.strongest[at] ?? [], options));
      if (focused) list.querySelector(`[data-latent="${focused}"]`)?.focus();
    };

    // show(state): draws everything anew; the focus stays on its token
    const show = (state) => {
      const focused = text.contains(document.activeElement) ? document.activeElement.dataset.i : null;
      const values = state.answer.activations[state.chosen] ?? state.answer.tokens.map(() => 0);
      now = { ...state, values };
      const items = state.answer.tokens.map(([shown, escaped], i) =>
        ({ token: { text: shown, escaped }, activation: values[i], change: state.changes?.[i] ?? null }));
      const change = (state.changes ?? []).reduce((largest, one) => Math.max(largest, Math.abs(one ?? 0)), 0);
      head.replaceChildren(...title(now));
      facts.textContent = about(now);
      tooltip.hide();
      text.replaceChildren(tokenText(items, { activation: most(values), change, peak: state.pinned,
        label: `The text, coloured by latent ${state.chosen}`, loss: "change of loss with what is turned" }));
      legend.replaceChildren(
        el("span", {}, "activation 0", el("span", { class: "scale", "aria-hidden": "true" }), format.number(most(values))),
        change > 0 ? el("span", { class: "token-text" }, el("span", { class: "worse" }, "worse"), " or ", el("span", { class: "better" }, "better"),
          " predicted with what is turned") : "");
      strip.replaceChildren(along(values));
      box.setAttribute("aria-label", state.member.name);
      showList(state.pinned);
      if (focused !== null) text.querySelector(`[data-i="${focused}"]`)?.focus();
    };

    // look(i): another token's latents; null: the chosen one's
    const look = (i) => now && (i ?? now.pinned) !== listed && showList(i ?? now.pinned);

    // pin(i): the token whose next one is looked at, drawn bold
    const pin = (i) => {
      now.pinned = i;
      text.querySelectorAll(".token[data-i]").forEach((one) => {
        const own = Number(one.dataset.i) === i;
        one.classList.toggle("peak", own);
        one.tabIndex = own ? 0 : -1;
      });
      showList(i);
    };
    return { box, show, pin, look };
  };
  return reading;
})();
