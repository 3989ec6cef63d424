// Beside the examples: histograms, output tokens, neighbours.
"use strict";

saejax.side = (() => {
  const { el, format, token, histogram, address } = saejax;

  const panel = (title, about, ...parts) => el("section", { class: "panel", "aria-label": title },
    el("h2", {}, title), about ? el("p", { class: "small faint" }, about) : "", parts);

  const activations = (latent) => {
    const total = latent.histogram_counts.reduce((a, b) => a + b, 0);
    if (!total) return "";
    const label = `Histogram of activations: ${format.count(total)} positions, from 0 to ${format.number(latent.max_activation)}, `
      + `mean ${format.number(latent.mean_activation)}`;
    return panel("Activations", `where it fires: ${format.plural(latent.n_active, "position")}`,
      histogram({ edges: latent.histogram_edges, counts: latent.histogram_counts, label }));
  };

  // A list of tokens with their logits, the length of a bar beside each
  const ranked = (title, ids, values, largest, vocabulary) => el("div", {},
    el("h3", {}, title),
    el("ol", { class: "ranked" }, ids.map((id, i) => el("li", { "--share": Math.abs(values[i]) / largest },
      token.chip(vocabulary(id)), el("span", { class: "number" }, format.signed(values[i]))))));

  const logits = (latent, vocabulary) => {
    if (!latent.boosted_tokens.length) return "";
    const largest = Math.max(...[...latent.boosted_logits, ...latent.suppressed_logits].map(Math.abs)) || 1;
    const label = `Histogram of what it adds to the logits, over the vocabulary, from ${format.number(latent.logit_edges[0])} `
      + `to ${format.number(latent.logit_edges[latent.logit_edges.length - 1])}`;
    return panel("Output tokens", "what it adds to the logits directly, over the vocabulary",
      histogram({ edges: latent.logit_edges, counts: latent.logit_counts, label, height: 90, zero: true }),
      el("div", { class: "two" },
        ranked("boosted", latent.boosted_tokens, latent.boosted_logits, largest, vocabulary),
        ranked("suppressed", latent.suppressed_tokens, latent.suppressed_logits, largest, vocabulary)));
  };

  const pairs = (title, names, values, link) => (names.length ? el("div", {},
    el("h3", {}, title),
    el("ol", { class: "ranked plain" }, names.map((name, i) => el("li", {},
      link ? el("a", { href: link(name) }, String(name)) : el("span", {}, String(name)),
      el("span", { class: "number" }, format.signed(values[i], 2)))))) : "");

  const neighbours = (latent, folder) => {
    const link = (i) => address.latent(folder, i);
    return panel("Neighbours", "",
      el("div", { class: "two" },
        pairs("similar latents, cosine", latent.similar_latents, latent.similar_cosines, link),
        pairs("correlated latents, r", latent.correlated_latents, latent.correlated_latent_r, link),
        pairs("aligned neurons, cosine", latent.aligned_neurons, latent.aligned_neuron_cosines),
        pairs("correlated neurons, r", latent.correlated_neurons, latent.correlated_neuron_r)));
  };

  // side(latent, vocabulary, folder): panels
  return (latent, vocabulary, folder) => el("div", { class: "side" },
    activations(latent), logits(latent, vocabulary), neighbours(latent, folder));
})();
