// What of an autoencoder's latents is shown, and in which order: kept in the address, so that Back and links restore it.
"use strict";

saejax.memberState = (() => {
  const { address } = saejax;
  const FILTERS = { q: "", where: "all", labelled: "", cluster: null, low: null, high: null };
  const oneOf = (value, allowed, otherwise) => (allowed.includes(value) ? value : otherwise);

  const read = (query) => ({
    q: query.get("q") ?? "",
    where: oneOf(query.get("where"), ["label", "fires", "boosted"], "all"),
    sort: oneOf(query.get("sort"), ["label", "fires", "density", "max", "cluster"], "latent"),
    down: query.get("down") === "1",
    labelled: oneOf(query.get("labelled"), ["yes", "no"], ""),
    cluster: /^\d+$/.test(query.get("cluster") ?? "") ? Number(query.get("cluster")) : null,
    low: Number(query.get("low")) > 0 && Number(query.get("high")) > 0 ? Number(query.get("low")) : null,
    high: Number(query.get("high")) || null,
  });

  const write = (folder, state) => address.member(folder, {
    q: state.q,
    where: state.where === "all" ? "" : state.where,
    sort: state.sort === "latent" && !state.down ? "" : state.sort,
    down: state.down ? 1 : "",
    labelled: state.labelled,
    cluster: state.cluster,
    low: state.low?.toPrecision(6),
    high: state.high?.toPrecision(6),
  });
  return { FILTERS, read, write };
})();
