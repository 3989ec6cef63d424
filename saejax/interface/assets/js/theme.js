// Light or dark: as the system says, until the reader chooses. Runs before the page is drawn, so that nothing flashes.
"use strict";

saejax.theme = (() => {
  const KEY = "saejax.theme";
  const system = matchMedia("(prefers-color-scheme: dark)");
  const listeners = [];

  // Storage may be refused, for pages opened from files for example; then the choice lasts as long as the page.
  const remembered = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null;
    }
  };
  const remember = (theme) => {
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      return;
    }
  };

  const current = () => document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light");
  const changed = () => listeners.forEach((listener) => listener());
  const toggle = () => {
    const theme = current() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    remember(theme);
    changed();
  };

  const chosen = remembered();
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  system.addEventListener("change", changed);
  // What is painted on a canvas must be painted again: onChange(f).
  return { current, toggle, onChange: (listener) => listeners.push(listener) };
})();
