// Sampled continuations of the text, without the turned latents and with them, from the same random numbers.
"use strict";

saejax.continuation = (() => {
  const { el, format, tokenText } = saejax;

  const text = (tokens) => (tokens.length
    ? tokenText.plain(tokens.map(([shown, escaped]) => ({ text: shown, escaped })))
    : el("span", { class: "faint" }, "the text fills the model’s context: there is no room for more"));

  // continuation(changed): {box, options, show(answer, edited)}; options are {seed, temperature}
  return (changed) => {
    const options = { seed: 0, temperature: 0.8 };
    const output = el("output", { class: "number" }, format.number(options.temperature, 2));
    const temperature = el("input", { type: "range", min: 0, max: 2, step: 0.1, value: options.temperature, "aria-label": "Temperature",
      oninput: () => {
        options.temperature = Number(temperature.value);
        output.textContent = format.number(options.temperature, 2);
        changed();
      } });
    const another = el("button", { class: "button", type: "button", onclick: () => {
      options.seed += 1;
      changed();
    } }, "Another sample");
    const samples = el("dl", { class: "samples" });
    const box = el("section", { class: "panel goes-on", "aria-labelledby": "continuation-title" },
      el("h2", { id: "continuation-title" }, "How it goes on"),
      samples,
      el("div", { class: "controls sampling" }, another,
        el("label", { class: "small soft temperature" }, "temperature", temperature, output)));

    const show = ({ before, after }, edited) => samples.replaceChildren(
      el("dt", {}, "model"), el("dd", { class: "was" }, text(before)),
      ...(edited ? [el("dt", {}, "turned"), el("dd", { class: "is" }, text(after))] : []));
    return { box, options, show };
  };
})();
