// latent.html: one latent. Going to another changes the address behind the "#", not the page, so that data stays loaded.
"use strict";

(() => {
  const { el, byId, address, format, shell, keys, order, tooltip } = saejax;
  let here = null; // {folder, latent, about, row, vocabulary, around}

  // The shard that holds a latent: the last that starts at or before it
  const load = async (folder, about, latent) => {
    const shard = about.latent_starts.findLastIndex((start) => start <= latent);
    const list = await saejax.load(`data/${folder}/latents-${String(shard).padStart(5, "0")}.js`);
    return list[latent - about.latent_starts[shard]];
  };

  const go = (latent) => {
    if (latent !== null && latent !== undefined) location.href = address.latent(here.folder, latent);
  };

  const search = (text) => {
    const wanted = text.trim();
    if (!wanted) return;
    if (/^#?\d+$/.test(wanted) && Number(wanted.replace("#", "")) < here.about.n_latents) go(Number(wanted.replace("#", "")));
    else location.href = address.member(here.folder, { q: wanted });
  };

  const link = (text, latent, name) => (latent === null
    ? el("a", { class: "button", role: "link", "aria-disabled": "true", "aria-label": name }, text)
    : el("a", { class: "button", href: address.latent(here.folder, latent), "aria-label": `${name}: latent ${latent}` }, text));

  const controls = () => {
    const box = el("input", { class: "field grow", id: "search", type: "search", placeholder: "Number, label or token  ( / )",
      "aria-label": "Go to a latent, or search", autocomplete: "off", spellcheck: "false" });
    box.addEventListener("keydown", (event) => event.key === "Enter" && search(box.value));
    const { previous, next, place, of } = here.around;
    return el("div", { class: "controls latent-controls" }, box,
      link("←", previous, "Previous"), link("→", next, "Next"),
      el("p", { class: "small faint" }, `${format.count(place + 1)} of ${format.count(of)}`));
  };

  const title = (latent) => el("div", { class: "latent-title" },
    el("h1", {}, `Latent ${latent.latent}`),
    latent.label
      ? el("p", { class: "latent-label" }, saejax.label(latent.label),
        el("span", { class: "small faint" }, `precision ${format.percent(latent.label_precision)}, recall ${format.percent(latent.label_recall)}`))
      : el("p", { class: "latent-label faint" }, latent.n_active ? "no automatic label" : "never fires"));

  const facts = (latent) => el("dl", { class: "facts" }, [
    ["Density", format.percent(latent.density)],
    ["Max activation", format.number(latent.max_activation)],
    ["Mean where active", format.number(latent.mean_activation)],
    ["Decoder norm", format.number(latent.decoder_norm)],
    ["Encoder norm", format.number(latent.encoder_norm)],
    ["Encoder · decoder", format.number(latent.encoder_decoder_cosine)],
    ["Bias", format.number(latent.bias)],
    ["Cluster", String(latent.cluster ?? "–")],
  ].map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));

  const draw = (latent) => {
    const { about, vocabulary, folder, row } = here;
    tooltip.hide();
    shell.title(`Latent ${latent.latent}${latent.label ? `: ${latent.label}` : ""}`);
    shell.bar([{ text: row.name, href: address.member(folder) }, { text: `latent ${latent.latent}` }], here.live);
    byId("page").replaceChildren(
      el("div", { class: "lead" }, el("div", { class: "latent-head" }, title(latent), controls()), facts(latent)),
      el("div", { class: "latent" },
        el("div", {}, saejax.intervals(latent, vocabulary, about.changes_a_nat), saejax.steering(latent.steering, vocabulary)),
        saejax.side(latent, vocabulary, folder)));
    byId("said").textContent = document.title;
  };

  const show = async () => {
    const { folder, latent } = address.read();
    const [{ row, about }, live] = await Promise.all([address.about(folder), saejax.load("data/live.js")]);
    if (latent === null || latent >= about.n_latents) {
      throw new Error(`This address names no latent of ${row.name}: it has 0 to ${about.n_latents - 1}.`);
    }
    const [vocabulary, own] = await Promise.all([saejax.vocabulary(about.vocabulary), load(folder, about, latent)]);
    here = { folder, latent, about, row, vocabulary, live, around: order.neighbours(folder, latent, about.n_latents) };
    draw(own);
    scrollTo(0, 0);
  };

  document.body.append(el("p", { class: "spoken", id: "said", role: "status" }));
  keys.bind(["j", "ArrowRight"], "next latent, in the table's order", () => go(here?.around.next));
  keys.bind(["k", "ArrowLeft"], "previous latent", () => go(here?.around.previous));
  keys.bind(["/"], "search", () => byId("search")?.focus());
  keys.bind(["u"], "up to the table", () => { if (here) location.href = address.member(here.folder); });
  addEventListener("hashchange", () => show().catch(shell.fail));
  show().catch(shell.fail);
})();
