// The decoder's directions in two dimensions, on a canvas since there may be tens of thousands; the table has the same latents.
"use strict";

saejax.map = (() => {
  const { el, theme, tooltip, mapView, mapPaint } = saejax;
  const REACH = 14; // pixels from the pointer within which a latent is meant
  const STILL = 4; // a pointer that moved less has clicked

  // Hovering says which latent is meant, a click opens it, dragging moves a map that is zoomed, the wheel zooms with Ctrl (so
  // that without it the page still scrolls).
  const listen = (canvas, state, { describe, open, mark, repaint }) => {
    let grip = null; // where the pointer went down, and how far it has moved since
    const nearest = (event) => state.view.nearest(state.ids, event.offsetX, event.offsetY, REACH);
    const hover = (event) => {
      const found = nearest(event);
      mark(found);
      canvas.style.cursor = found < 0 ? "" : "pointer";
      if (found < 0) tooltip.hide();
      else tooltip.show(canvas, describe(found), { x: event.clientX + 10, y: event.clientY + 8 });
    };
    const drag = (event) => {
      grip.moved += Math.abs(event.movementX) + Math.abs(event.movementY);
      if (state.view.zoom === 1) return;
      state.view.pan(event.movementX, event.movementY);
      tooltip.hide();
      repaint();
    };
    canvas.addEventListener("pointerdown", (event) => {
      grip = { moved: 0 };
      if (state.view.zoom > 1) canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => (grip && event.buttons ? drag(event) : hover(event)));
    canvas.addEventListener("pointerleave", () => {
      mark(-1);
      tooltip.hide();
    });
    canvas.addEventListener("click", (event) => {
      const found = nearest(event);
      if (found >= 0 && (grip?.moved ?? 0) < STILL) open(found);
      grip = null;
    });
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      state.view.zoomBy(Math.exp(-event.deltaY / 300), [event.offsetX, event.offsetY]);
      repaint();
    }, { passive: false });
  };

  // map(index, {describe, open, label}): {box, show(ids), mark(latent), colour(by), zoom(factor)}
  return (index, { describe, open, label }) => {
    const canvas = el("canvas", { role: "img", "aria-label": label });
    const box = el("div", { class: "map" }, canvas);
    const context = canvas.getContext("2d");
    const state = { view: null, ids: [], by: "density", marked: -1, asked: false };

    const repaint = () => {
      if (state.asked) return;
      state.asked = true;
      requestAnimationFrame(() => {
        state.asked = false;
        if (state.view) mapPaint(context, state.view, index, state);
      });
    };
    const change = (name) => (value) => {
      if (state[name] === value) return;
      state[name] = value;
      repaint();
    };
    const mark = change("marked");
    const zoom = (factor) => {
      state.view.zoomBy(factor);
      canvas.classList.toggle("zoomed", state.view.zoom > 1);
      repaint();
    };
    new ResizeObserver(([entry]) => {
      const width = Math.round(entry.contentRect.width);
      if (!width || width === state.view?.width) return;
      const height = Math.round(width * 0.82);
      canvas.width = width * devicePixelRatio;
      canvas.height = height * devicePixelRatio;
      canvas.style.height = `${height}px`;
      state.view = mapView(index, width, height);
      mapPaint(context, state.view, index, state);
    }).observe(box);
    listen(canvas, state, { describe, open, mark, repaint });
    theme.onChange(repaint);
    return { box, show: change("ids"), mark, colour: change("by"), zoom };
  };
})();
