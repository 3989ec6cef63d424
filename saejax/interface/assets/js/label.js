// An automatic label, such as: fires on `dtype` or ` dtype`. What stands between backticks is token text, which may itself hold
// backticks: that is told by what follows them.
"use strict";

saejax.label = (() => {
  const BETWEEN = /`( after |, | or )`/;

  // label(text): text and chips
  return (text) => {
    const [first, last] = [text.indexOf("`"), text.lastIndexOf("`")];
    if (first === last) return [text];
    const parts = text.slice(first + 1, last).split(BETWEEN);
    const shown = parts.map((part, i) => (i % 2 ? part.replace(",", "") : saejax.token.chip({ text: part })));
    return [text.slice(0, first), ...shown, text.slice(last + 1)].filter((part) => part !== "");
  };
})();
