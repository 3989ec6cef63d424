// All examples of a latent, by the part of its range in which their peaks lie.
"use strict";

saejax.intervals = (() => {
  const { el, format, example } = saejax;

  const heading = (interval, latent) => {
    if (interval === 0) return ["Top activations", ""];
    const [high, low] = [latent.quantiles[interval - 1], latent.quantiles[interval]];
    const share = latent.interval_shares?.[interval - 1];
    return [`Activations ${format.number(low)} to ${format.number(high)}`,
      share === undefined ? "" : `${format.percent(share)} of the positions on which it fires`];
  };

  const legend = (latent, largest) => el("p", { class: "token-legend" },
    el("span", {}, "activation 0", el("span", { class: "scale", "aria-hidden": "true" }), format.number(latent.max_activation)),
    largest > 0 ? el("span", {}, el("span", { class: "token-text" }, el("span", { class: "worse", "--effect-share": 0.6 }, "underlined")),
      " loss rises without the latent") : "",
    largest > 0 ? el("span", {}, el("span", { class: "token-text" }, el("span", { class: "better", "--effect-share": 0.6 }, "dotted")),
      ` falls; thickest at ${format.number(largest, 2)} nats or more`) : "");

  // What is drawn thickest: not the largest change of all, beside which every other would vanish.
  const typical = (ones) => {
    const sorted = ones.map(({ largest }) => largest).filter((size) => size > 0).sort((a, b) => a - b);
    return sorted[Math.floor(0.75 * (sorted.length - 1))] ?? 0;
  };

  // intervals(latent, vocabulary, changesANat): a section
  const intervals = (latent, vocabulary, changesANat) => {
    const n = latent.examples.tokens?.length ?? 0;
    if (!n) return el("p", { class: "message" }, "It fired nowhere in the text that was looked at.");
    const ones = Array.from({ length: n }, (_, i) => example.unpack(latent.examples, i, changesANat, vocabulary));
    const change = typical(ones);
    const scale = { activation: latent.max_activation, change };
    const kinds = [...new Set(ones.map(({ interval }) => interval))];
    return el("section", { class: "examples", "aria-label": "Examples" }, legend(latent, change), kinds.map((interval) => {
      const [title, about] = heading(interval, latent);
      return el("section", { "aria-label": title },
        el("div", { class: "interval-head" }, el("h2", {}, title), about ? el("p", { class: "small faint" }, about) : ""),
        el("ol", {}, ones.filter((one) => one.interval === interval).map((one) => example(one, scale, vocabulary))));
    }));
  };
  return intervals;
})();
