// All latents of one autoencoder, as columns: what the table, the histogram and the map share; filtering and sorting them.
"use strict";

saejax.latentIndex = (() => {
  const { compare } = saejax.sortedTable;
  const COLUMNS = ["density", "max", "label", "cluster", "x", "y", "fires", "boosted"];

  // load(folder, about): {n, density: [], max: [], …}; fires and boosted are lists of token ids
  const load = async (folder, about) => {
    const paths = Array.from({ length: about.n_index_files }, (_, i) => `data/${folder}/index-${String(i).padStart(5, "0")}.js`);
    const stretches = (await Promise.all(paths.map(saejax.load))).flat();
    const columns = Object.fromEntries(COLUMNS.map((name) => [name, stretches.flatMap((stretch) => stretch[name])]));
    return { n: columns.density.length, ...columns };
  };

  // searcher(index, vocabulary): {texts}, lower-case texts in which each kind of search looks, made at the first search
  const searcher = (index, vocabulary) => {
    const made = {};
    const joined = (lists) => lists.map((ids) => ids.map((id) => vocabulary(id).text).join("\n").toLowerCase());
    const make = {
      label: () => index.label.map((text) => text.toLowerCase()),
      fires: () => joined(index.fires),
      boosted: () => joined(index.boosted),
    };
    const texts = (kind) => (made[kind] ??= make[kind]());
    // matches(text, where): (latent) => boolean; a number also matches the latent of that number
    return (text, where) => {
      const wanted = text.trim().toLowerCase();
      if (!wanted) return () => true;
      const number = /^#?\d+$/.test(wanted) ? Number(wanted.replace("#", "")) : -1;
      const columns = (where === "all" ? ["label", "fires", "boosted"] : [where]).map(texts);
      const exact = wanted.startsWith("#");
      return (i) => i === number || (!exact && columns.some((column) => column[i].includes(wanted)));
    };
  };

  // filter(index, matches, {low, high, labelled, cluster}): ids; a density range leaves out what never fires
  const filter = (index, matches, { low = null, high = null, labelled = "", cluster = null }) => {
    const ids = [];
    for (let i = 0; i < index.n; i++) {
      const density = index.density[i];
      if (low !== null && !(density >= low && density <= high && density > 0)) continue;
      if (labelled === "yes" && !index.label[i]) continue;
      if (labelled === "no" && index.label[i]) continue;
      if (cluster !== null && index.cluster[i] !== cluster) continue;
      if (matches(i)) ids.push(i);
    }
    return ids;
  };

  // sort(ids, key, down, index, vocabulary): in place. What is empty comes last either way.
  const sort = (ids, key, down, index, vocabulary) => {
    const sign = down ? -1 : 1;
    if (key === "latent") return ids.sort((a, b) => sign * (a - b));
    if (key === "label" || key === "fires") {
      const text = key === "label" ? (i) => index.label[i] : (i) => (index.fires[i].length ? vocabulary(index.fires[i][0]).text : "");
      const collator = new Intl.Collator("en", { numeric: true });
      const order = (a, b) => (a && b ? sign * collator.compare(a, b) : Number(!a) - Number(!b));
      return ids.sort((a, b) => order(text(a).trim(), text(b).trim()) || a - b);
    }
    return ids.sort((a, b) => sign * compare(index[key][a], index[key][b]) || a - b);
  };
  return { load, searcher, filter, sort };
})();
