// From the map's coordinates to pixels, and back: both axes by one factor, `zoom` times larger round `centre`.
"use strict";

saejax.mapView = (() => {
  const MARGIN = 14;
  const LARGEST = 40;

  const range = (values) => values.reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [Infinity, -Infinity]);

  // mapView({x, y}, width, height): all of it in sight
  return ({ x, y }, width, height) => {
    const [[left, right], [bottom, top]] = [range(x), range(y)];
    const fit = Math.min((width - 2 * MARGIN) / (right - left || 1), (height - 2 * MARGIN) / (top - bottom || 1));
    const middle = [(left + right) / 2, (bottom + top) / 2];
    const view = { width, height, zoom: 1, centre: middle };

    view.place = (i) => [
      width / 2 + (x[i] - view.centre[0]) * fit * view.zoom,
      height / 2 - (y[i] - view.centre[1]) * fit * view.zoom,
    ];
    view.pan = (dx, dy) => {
      view.centre = [view.centre[0] - dx / (fit * view.zoom), view.centre[1] + dy / (fit * view.zoom)];
    };
    // What is at pixel `at` stays there; at the smallest, all of it is in sight again.
    view.zoomBy = (factor, at = [width / 2, height / 2]) => {
      const next = Math.min(Math.max(view.zoom * factor, 1), LARGEST);
      const shift = (1 / view.zoom - 1 / next) / fit;
      view.centre = next === 1 ? middle
        : [view.centre[0] + (at[0] - width / 2) * shift, view.centre[1] - (at[1] - height / 2) * shift];
      view.zoom = next;
    };
    // The one of `ids` that is nearest to a pixel, or -1 where none is within `reach` of it
    view.nearest = (ids, atX, atY, reach) => {
      let [found, best] = [-1, reach * reach];
      for (const i of ids) {
        const [px, py] = view.place(i);
        const distance = (px - atX) ** 2 + (py - atY) ** 2;
        if (distance < best) [found, best] = [i, distance];
      }
      return found;
    };
    return view;
  };
})();
