// The strongest latents at one token: each colours the text, leads to its page, and can be turned.
"use strict";

saejax.strongest = (() => {
  const { el, format, token, address } = saejax;

  // What is known of a latent, in a few words: its label, else what it makes more likely
  const about = (latent, { labels, boosted }) => {
    if (labels[latent]) return saejax.label(labels[latent]);
    if (!boosted[latent]?.length) return "";
    return ["boosts ", ...boosted[latent].flatMap(([text, escaped]) => [token.chip({ text, escaped }), " "])];
  };

  const row = ([latent, value], scale, { answer, chosen, folder, pick, turn }) => el("li", { "--share": value / scale },
    el("button", { type: "button", class: "pick", "aria-pressed": String(latent === chosen), "data-latent": latent,
      onclick: () => pick(latent) },
    el("span", { class: "name" }, String(latent)),
    el("span", { class: "about" }, about(latent, answer))),
    el("span", { class: "number" }, format.number(value)),
    folder ? el("a", { class: "button quiet", href: address.latent(folder, latent), "aria-label": `Page of latent ${latent}`,
      title: "Its page" }, "↗") : "",
    turn ? el("button", { class: "button quiet", type: "button", "aria-label": `Turn latent ${latent}`, title: "Ablate or steer it",
      onclick: () => turn(latent) }, "±") : "");

  // strongest(token, [[latent, activation], …], options): a heading and a list
  return (at, found, options) => [
    el("h3", {}, "Strongest at ", at ? token.chip(at) : "–"),
    found.length
      ? el("ol", { class: "ranked strongest" }, found.map((one) => row(one, found[0][1], options)))
      : el("p", { class: "small faint nothing" }, "No latent is active here: autoencoders leave out the first position of a text."),
  ];
})();
