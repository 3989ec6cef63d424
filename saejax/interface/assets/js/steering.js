// What the model writes with the latent turned up and down.
"use strict";

saejax.steering = (() => {
  const { el, format } = saejax;

  const text = (ids, vocabulary) => saejax.tokenText.plain(ids.map(vocabulary));

  // steering(samples, vocabulary): a section, or nothing
  return (samples, vocabulary) => {
    if (!samples.length) return "";
    const prompts = new Map();
    for (const sample of samples) {
      const key = sample.prompt.join(" ");
      if (!prompts.has(key)) prompts.set(key, []);
      prompts.get(key).push(sample);
    }
    return el("section", { class: "steering", "aria-labelledby": "steering-title" },
      el("div", { class: "interval-head" }, el("h2", { id: "steering-title" }, "Steering"),
        el("p", { class: "small faint" }, "sampled continuations with the latent added everywhere, in multiples of its largest activation")),
      [...prompts.values()].map((own) => el("div", { class: "prompt" },
        el("p", {}, text(own[0].prompt, vocabulary), el("span", { class: "faint" }, " …")),
        el("dl", {}, own.map(({ strength, continuation }) => [
          el("dt", { class: "number" }, `${strength > 0 ? "+" : ""}${format.tick(strength)}×`),
          el("dd", {}, text(continuation, vocabulary))])))));
  };
})();
