// Running text: the background says how active the latent is, the underline what changes without it. Values are shown on
// hover and on focus; the text is one stop of the Tab key, within which the arrows move.
"use strict";

saejax.tokenText = (() => {
  const { el, token, format, tooltip } = saejax;
  const FEWEST = 0.04; // of the largest effect: smaller ones are not underlined
  const LONGEST_WHOLE = 24; // characters

  // describe({token, activation, change}, loss): the values of one token, in words.
  const describe = (item, loss) => {
    const lines = [token.spoken(item.token)];
    if (item.activation !== null) lines.push(`activation ${format.number(item.activation)}`);
    if (item.change !== null) lines.push(`${loss} ${format.signed(item.change)} nats`);
    return lines.join("\n");
  };

  const one = (item, i, scale) => {
    const { activation, change } = item;
    const share = scale.activation > 0 ? Math.min(1, Math.max(0, activation ?? 0) / scale.activation) : 0;
    const effect = scale.change > 0 && change !== null ? Math.min(1, Math.abs(change) / scale.change) : 0;
    const kinds = ["token"];
    if (share > 0) kinds.push("active");
    if (i === scale.peak) kinds.push("peak");
    if (effect >= FEWEST) kinds.push(change > 0 ? "worse" : "better");
    const span = el("span", { class: kinds.join(" "), tabindex: i === scale.start ? 0 : -1, dir: "auto", "data-i": i });
    if (share > 0) span.style.setProperty("--activation-share", share.toFixed(3));
    if (effect >= FEWEST) span.style.setProperty("--effect-share", effect.toFixed(3));
    return token.fill(span, item.token);
  };

  const move = (event) => {
    const here = event.target.closest(".token");
    const step = { ArrowRight: "nextElementSibling", ArrowLeft: "previousElementSibling" }[event.key];
    if (!here || !step) return;
    event.preventDefault();
    let next = here[step];
    while (next && !next.classList.contains("token")) next = next[step];
    if (!next) return;
    here.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  };

  // Lines break before a token that starts with a space, not after that space; long ones break where they must.
  const broken = (tokens, spans) => spans.flatMap((span, i) => {
    const { text } = tokens[i];
    if (!/^\s/.test(text) || text.length > LONGEST_WHOLE) return [span];
    span.classList.add("whole");
    return [el("wbr"), span];
  });

  // plain(tokens): running text without values
  const plain = (tokens) => el("span", { class: "token-text" },
    broken(tokens, tokens.map((one) => token.fill(el("span", { class: "token", dir: "auto" }), one))));

  // tokenText(items, {activation, change, peak, label, loss}): items are {token, activation, change}, null where not known;
  // `activation` and `change` are the values drawn strongest; `peak` is the token drawn bold, where the Tab key arrives;
  // `loss` says whose change the underline is.
  const tokenText = (items, { activation = 0, change = 0, peak = -1, label = "",
    loss = "change of loss without the latent" } = {}) => {
    const scale = { activation, change, peak, start: Math.max(0, peak) };
    const spans = items.map((item, i) => one(item, i, scale));
    const text = el("p", { class: "token-text", "aria-label": label || null, role: label ? "group" : null },
      broken(items.map((item) => item.token), spans));
    text.addEventListener("keydown", move);
    tooltip.explain(text, ".token", (span) => describe(items[Number(span.dataset.i)], loss));
    return text;
  };
  return Object.assign(tokenText, { plain });
})();
