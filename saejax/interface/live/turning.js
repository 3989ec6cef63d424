// The latents that are turned: each ablated, scaled, raised or set, by a slider.
"use strict";

saejax.turning = (() => {
  const { el, format } = saejax;
  const KINDS = {
    ablate: { about: "its contribution is taken out", range: null },
    scale: { about: "times its own activation", range: [-2, 4], start: 2, text: (s) => `× ${format.number(s, 2)}` },
    add: { about: "added everywhere, in multiples of its largest activation", range: [-4, 4], start: 1, text: (s) => `${format.signed(s, 2)} × max` },
    set: { about: "held everywhere, in multiples of its largest activation", range: [0, 4], start: 1, text: (s) => `= ${format.number(s, 2)} × max` },
  };
  const STEP = 0.1;

  const start = (latent) => ({ latent, kind: "add", strength: KINDS.add.start });

  const slider = (edit, changed) => {
    const { range, text } = KINDS[edit.kind];
    const output = el("output", { class: "number" }, text(edit.strength));
    const input = el("input", { type: "range", min: range[0], max: range[1], step: STEP, value: edit.strength,
      "aria-label": `Strength of latent ${edit.latent}`, "aria-valuetext": text(edit.strength),
      oninput: () => {
        edit.strength = Number(input.value);
        output.textContent = text(edit.strength);
        input.setAttribute("aria-valuetext", text(edit.strength));
        changed();
      } });
    return el("div", { class: "slider" }, input, output);
  };

  const one = (edit, label, { changed, redraw, remove }) => el("li", { class: "turned" },
    el("div", { class: "turned-head" },
      el("strong", {}, `Latent ${edit.latent}`), el("span", { class: "small label" }, label ? saejax.label(label) : ""),
      el("button", { class: "button quiet", type: "button", "aria-label": `Leave latent ${edit.latent} as it is`, title: "Leave it as it is",
        onclick: remove }, "×")),
    el("fieldset", { class: "choice" }, el("legend", { class: "spoken" }, `What happens to latent ${edit.latent}`),
      Object.entries(KINDS).map(([kind, { about, start: strength = 0 }]) => el("label", { title: about },
        el("input", { type: "radio", name: `kind-${edit.latent}`, value: kind, checked: kind === edit.kind,
          onchange: () => redraw({ kind, strength }) }), kind))),
    KINDS[edit.kind].range ? slider(edit, changed) : el("p", { class: "small faint" }, KINDS[edit.kind].about));

  // turning({most, changed}): a panel of edits; `edits` is its list, changed() says that it is another
  const turning = ({ most, changed }) => {
    const edits = [];
    const labels = {};
    const list = el("ol", { class: "turned-list" });
    const note = el("p", { class: "small faint" });
    const number = el("input", { class: "field", type: "number", min: 0, step: 1, placeholder: "number", "aria-label": "Number of a latent to turn" });
    const form = el("div", { class: "controls" }, number,
      el("button", { class: "button", type: "button", onclick: () => addTyped() }, "Turn"));

    const draw = () => {
      list.replaceChildren(...edits.map((edit, i) => one(edit, labels[edit.latent], {
        changed,
        redraw: (next) => { Object.assign(edit, next); draw(); list.children[i].querySelector(":checked").focus(); changed(); },
        remove: () => { edits.splice(i, 1); draw(); number.focus(); changed(); },
      })));
      note.textContent = edits.length ? "" : "Choose ± beside a latent, or name one by its number, to ablate or steer it.";
      note.hidden = edits.length > 0;
    };
    // add(latent): turns it, or leads to its slider where it is turned already
    const add = (latent) => {
      let i = edits.findIndex((edit) => edit.latent === latent);
      if (i < 0) {
        if (edits.length === most) edits.shift();
        i = edits.push(start(latent)) - 1;
        draw();
        changed();
      }
      const inputs = list.children[i];
      (inputs.querySelector("input[type=range]") ?? inputs.querySelector(":checked")).focus();
    };
    const addTyped = () => {
      if (number.value !== "" && number.checkValidity()) add(Number(number.value));
      number.value = "";
    };
    number.addEventListener("keydown", (event) => event.key === "Enter" && addTyped());
    draw();

    const box = el("section", { class: "panel", "aria-labelledby": "turning-title" },
      el("h2", { id: "turning-title" }, "Turned latents"), note, list, form);
    const clear = (nLatents) => {
      edits.length = 0;
      number.max = nLatents - 1;
      draw();
    };
    // told(labels): automatic labels that have become known
    const told = (more) => {
      const unknown = edits.some(({ latent }) => more[latent] && !labels[latent]);
      Object.assign(labels, more);
      if (unknown && !list.contains(document.activeElement)) draw();
    };
    return { box, edits, add, clear, told };
  };
  return turning;
})();
