// Token ids → tokens.
"use strict";

saejax.vocabulary = async ({ name, n_files: nFiles }) => {
  const paths = Array.from({ length: nFiles }, (_, i) => `data/${name}-${String(i).padStart(5, "0")}.js`);
  const entries = (await Promise.all(paths.map(saejax.load))).flat();
  // (id) => {text, escaped}: escaped ones stand for bytes that are not whole characters
  return (id) => {
    const entry = entries[id];
    if (entry === undefined) return { text: `token ${id}`, escaped: true };
    return typeof entry === "string" ? { text: entry, escaped: false } : { text: entry[0], escaped: true };
  };
};
