// The order in which latents follow each other: the table's, as it was last sorted and filtered; else by number.
"use strict";

saejax.order = (() => {
  const KEY = "saejax.order";

  const keep = (folder, ids) => {
    try {
      sessionStorage.setItem(KEY, `${folder}:${ids.join(",")}`);
    } catch {
      return; // no room, or storage is refused: the order is by number
    }
  };

  const kept = (folder) => {
    try {
      const text = sessionStorage.getItem(KEY) ?? "";
      return text.startsWith(`${folder}:`) ? text.slice(folder.length + 1).split(",").map(Number) : [];
    } catch {
      return [];
    }
  };

  // neighbours("topk", 12, 1024) = {previous: 11, next: 13, place: 12, of: 1024}; null at an end
  const neighbours = (folder, latent, n) => {
    const ids = kept(folder);
    const place = ids.indexOf(latent);
    if (place < 0) {
      return { previous: latent > 0 ? latent - 1 : null, next: latent + 1 < n ? latent + 1 : null, place: latent, of: n };
    }
    return { previous: ids[place - 1] ?? null, next: ids[place + 1] ?? null, place, of: ids.length };
  };
  return { keep, neighbours };
})();
