// Where a page is, kept behind the "#" of its address, so that links, the Back button and bookmarks work without a server:
// member.html#<folder>?q=array&sort=density and latent.html#<folder>/<latent>
"use strict";

saejax.address = (() => {
  const read = () => {
    const [place, query = ""] = location.hash.slice(1).split("?");
    const [folder, latent] = decodeURIComponent(place).split("/");
    return { folder, latent: /^\d+$/.test(latent ?? "") ? Number(latent) : null, query: new URLSearchParams(query) };
  };

  const member = (folder, query = {}) => {
    const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
    const text = new URLSearchParams(given).toString();
    return `member.html#${encodeURIComponent(folder)}${text ? `?${text}` : ""}`;
  };
  const latent = (folder, i) => `latent.html#${encodeURIComponent(folder)}/${i}`;

  // replace(address): the same page, said otherwise; no step of the Back button.
  const replace = (address) => history.replaceState(null, "", address);

  // member data: refuses what is no folder of this site, in words
  const about = async (folder) => {
    const sweep = await saejax.load("data/sweep.js");
    const row = sweep.members.find((one) => one.folder && one.folder === folder);
    if (!row) throw new Error("This address names no autoencoder of this site; start from the overview.");
    return { sweep, row, about: await saejax.load(`data/${row.folder}/member.js`) };
  };
  return { read, member, latent, replace, about };
})();
