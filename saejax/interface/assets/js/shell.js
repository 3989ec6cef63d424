// The bar at the top of every page: where one is, the theme, the keys; and how a page says that it cannot be shown.
"use strict";

saejax.shell = (() => {
  const { el, byId, keys, theme } = saejax;

  // bar([{text, href}, …]): the trail from the overview to this page; `live` adds a link where a server offers the live page.
  const bar = (trail = [], live = null) => {
    const places = trail.map(({ text, href }) =>
      el("li", {}, href ? el("a", { href }, text) : el("span", { "aria-current": "page" }, text)));
    const button = (text, label, action, more = "") =>
      el("button", { class: `button quiet ${more}`, type: "button", "aria-label": label, title: label, onclick: action }, text);
    const parts = [
      el("a", { class: "brand", href: "index.html" }, "saejax"),
      el("nav", { "aria-label": "Where you are", class: "trail" }, el("ol", { class: "trail" }, places)),
      button("◐", "Light or dark", theme.toggle),
      button("?", "Keys", keys.help, "wide"),
    ];
    if (live) parts.splice(2, 0, el("a", { class: "button", href: live + location.hash.split("?")[0] }, "Live"));
    byId("bar").replaceChildren(...parts);
  };

  // fail(error): said on the page, since a reader does not look at the console.
  const fail = (error) => {
    byId("page").replaceChildren(el("p", { class: "message", role: "alert" }, error.message));
  };

  const title = (text) => {
    document.title = `${text} · saejax`;
  };

  keys.bind(["t"], "light or dark", theme.toggle);
  keys.bind(["?"], "these keys", keys.help);
  return { bar, fail, title };
})();
