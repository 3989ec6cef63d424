// The one global, and making elements. Text only ever becomes a text node: nothing here, or anywhere else, parses HTML.
"use strict";

const saejax = {};

(() => {
  const SVG = "http://www.w3.org/2000/svg";

  const fill = (element, attributes, children) => {
    for (const [name, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (name.startsWith("--")) element.style.setProperty(name, value);
      else element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  };

  // el("a", {class: "button", href: "#x", onclick: f, "--share": 0.5}, "text", child, [children])
  saejax.el = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
  saejax.svg = (name, attributes = {}, ...children) => fill(document.createElementNS(SVG, name), attributes, children);
  saejax.byId = (id) => document.getElementById(id);
})();
