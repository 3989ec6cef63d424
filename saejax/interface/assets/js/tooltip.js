// One box for all that is shown on hover and on keyboard focus, and read aloud as the description of what has the focus.
"use strict";

saejax.tooltip = (() => {
  const { el } = saejax;
  const MARGIN = 6;
  const box = el("div", { class: "tooltip", id: "tooltip", role: "tooltip", hidden: true });
  let owner = null;

  // show(target, text, {x, y}): under the target, or at a point in the window.
  const show = (target, text, at = null) => {
    if (!box.isConnected) document.body.append(box);
    box.textContent = text;
    box.hidden = false;
    owner?.removeAttribute("aria-describedby");
    owner = target;
    owner.setAttribute("aria-describedby", "tooltip");
    const rectangles = target.getClientRects();
    const anchor = at ? { left: at.x, top: at.y, bottom: at.y } : rectangles[0] ?? target.getBoundingClientRect();
    const own = box.getBoundingClientRect();
    const left = Math.min(Math.max(MARGIN, anchor.left), document.documentElement.clientWidth - own.width - MARGIN);
    const below = anchor.bottom + MARGIN;
    const top = below + own.height > innerHeight ? anchor.top - own.height - MARGIN : below;
    box.style.transform = `translate(${Math.round(left + scrollX)}px, ${Math.round(top + scrollY)}px)`;
  };

  const hide = () => {
    owner?.removeAttribute("aria-describedby");
    owner = null;
    box.hidden = true;
  };

  // explain(container, selector, describe): describe(element) is shown for the elements of a container that match.
  const explain = (container, selector, describe) => {
    const found = (event) => event.target.closest?.(selector);
    for (const kind of ["pointerover", "focusin"]) {
      container.addEventListener(kind, (event) => {
        const target = found(event);
        if (target) show(target, describe(target));
      });
    }
    for (const kind of ["pointerout", "focusout"]) container.addEventListener(kind, hide);
  };

  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  return { show, hide, explain };
})();
