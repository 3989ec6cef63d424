// An automatic label, such as: fires on `dtype` after `a`. What stands between backticks is token text, and may hold backticks.
"use strict";

saejax.label = (() => {
  const BETWEEN = "` after `";

  // label(text): text and chips
  return (text) => {
    const [first, last] = [text.indexOf("`"), text.lastIndexOf("`")];
    if (first === last) return [text];
    const [token, ...rest] = text.slice(first + 1, last).split(BETWEEN);
    const second = rest.length ? [" after ", saejax.token.chip({ text: rest.join(BETWEEN) })] : [];
    return [text.slice(0, first), saejax.token.chip({ text: token }), ...second, text.slice(last + 1)];
  };
})();
