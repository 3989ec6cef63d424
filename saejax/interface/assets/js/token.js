// What one token looks like. A token is {text, escaped}: its text is data, and whatever of it has no glyph, or would change
// how its neighbours are drawn, is shown as a mark or an escape.
"use strict";

saejax.token = (() => {
  const { el } = saejax;
  // C0 and C1 controls, soft hyphen, the marks and embeddings of bidirectional text, zero-width characters, the byte order
  // mark, interlinear and tag characters, what is not a character, and halves of surrogate pairs.
  // The joiners U+200C and U+200D stay: emoji and scripts such as Persian are made with them.
  const UNSEEN = new RegExp(
    "([\\u0000-\\u001f\\u007f-\\u009f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180e\\u200b\\u200e\\u200f" +
      "\\u2028-\\u202e\\u2060-\\u206f\\u3164\\ufeff\\uffa0\\ufff0-\\ufffb\\ufffe\\uffff" +
      "\\u{e0000}-\\u{e0fff}]|\\p{Surrogate})", "u");
  const WORDS = new Map([["\n", "newline"], ["\t", "tab"], ["\r", "carriage return"], [" ", "space"]]);

  const escape = (character) => {
    const code = character.codePointAt(0).toString(16).toUpperCase();
    return code.length <= 2 ? `\\x${code.padStart(2, "0")}` : `\\u{${code}}`;
  };

  const mark = (text) => el("span", { class: "mark" }, text);
  const unseen = (character) => {
    if (character === "\n") return mark("↵");
    if (character === "\t") return mark("⇥");
    return el("span", { class: "escape" }, escape(character));
  };

  // pieces(text): text nodes and marks. `spaces`: leading, trailing and doubled spaces are marked too.
  const pieces = (text, spaces) =>
    text.split(UNSEEN).flatMap((part, i) => {
      if (i % 2) return [unseen(part)];
      if (!spaces) return part ? [part] : [];
      return part.split(/(^ +| +$| {2,})/).flatMap((run, j) => (run ? [j % 2 ? mark("·".repeat(run.length)) : run] : []));
    });

  // fill(element, token): a token in its line. A newline is a mark and does not break the line.
  const fill = (element, { text, escaped }, spaces = false) => {
    if (escaped) element.append(el("span", { class: "escape" }, text));
    else element.append(...(text === "" ? [mark("∅")] : pieces(text, spaces || /^\s+$/.test(text))));
    return element;
  };

  // chip(token): a token by itself, in a list, every space in sight.
  const chip = (token) => fill(el("bdi", { class: "token chip" }), token, true);
  // spoken(token): in words, for labels and descriptions.
  const spoken = ({ text }) => {
    if (WORDS.has(text)) return WORDS.get(text);
    return `“${text.split(UNSEEN).map((part, i) => (i % 2 ? (part === "\n" ? "↵" : escape(part)) : part)).join("")}”`;
  };
  return { fill, chip, spoken };
})();
