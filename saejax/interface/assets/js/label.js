// An automatic label, such as: fires on `dtype`. What stands between backticks is token text.
"use strict";

saejax.label = (text) => {
  const parts = text.split("`");
  if (parts.length < 3) return [text];
  const [before, after] = [parts[0], parts[parts.length - 1]];
  const inner = parts.slice(1, -1).join("`");
  // More than one pair of backticks: every second part is token text.
  if (parts.length % 2 === 0 || parts.length === 3) return [before, saejax.token.chip({ text: inner }), after];
  return parts.map((part, i) => (i % 2 ? saejax.token.chip({ text: part }) : part));
};
