// Keys of a page: one table, which both answers key presses and is shown by "?".
"use strict";

saejax.keys = (() => {
  const { el } = saejax;
  const bindings = [];

  const typing = (target) => target.closest("input:not([type=radio], [type=range]), select, textarea, [contenteditable]");

  // bind(["j", "ArrowRight"], "next latent", f); arrows are left to what has the focus where that uses them.
  const bind = (keys, meaning, action) => bindings.push({ keys, meaning, action });

  const show = (key) => ({ ArrowRight: "→", ArrowLeft: "←", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc" })[key] ?? key;

  const dialog = () => {
    const rows = bindings.flatMap(({ keys, meaning }) => [
      el("dt", {}, keys.flatMap((key, i) => [i ? " " : null, el("kbd", {}, show(key))])),
      el("dd", {}, meaning),
    ]);
    const close = el("button", { class: "button", type: "button", onclick: () => box.close() }, "Close");
    const box = el("dialog", { class: "keys", "aria-labelledby": "keys-title" },
      el("h2", { id: "keys-title" }, "Keys"), el("dl", {}, rows), close);
    box.addEventListener("close", () => box.remove());
    return box;
  };

  const help = () => {
    if (document.querySelector("dialog.keys")) return;
    const box = dialog();
    document.body.append(box);
    box.showModal();
  };

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    if (typing(event.target)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const found = bindings.find(({ keys }) => keys.includes(event.key));
    if (!found) return;
    event.preventDefault();
    found.action();
  });

  return { bind, help };
})();
