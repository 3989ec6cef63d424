// What is asked: the text, the autoencoder that reads it, and one to compare it with.
"use strict";

saejax.liveForm = (() => {
  const { el, format, token } = saejax;

  const select = (name, options, onchange) => el("label", { class: "small soft named" }, name,
    el("select", { class: "field", onchange }, options.map(([value, text]) => el("option", { value }, text))));

  // liveForm({members, text, characters, typed, chosen}): {box, text(), choose(name), members(), tell(answer, milliseconds), fail(error)}
  return ({ members, text, characters, typed, chosen }) => {
    const alert = el("p", { class: "message", role: "alert", hidden: true });
    const said = el("p", { class: "spoken", role: "status" });
    const count = el("p", { class: "small soft" });
    const quick = el("p", { class: "small faint" });
    const area = el("textarea", { class: "field", id: "text", rows: 3, spellcheck: "false", autocomplete: "off",
      maxlength: characters, oninput: typed });
    area.value = text;
    const names = members.map(({ name }) => [name, name]);
    const first = select("autoencoder", names, chosen);
    const second = select("compare with", [["", "none"], ...names], chosen);
    const swap = el("button", { class: "button", type: "button", title: "Turn latents of the other", onclick: () => {
      const [a, b] = [first, second].map((one) => one.querySelector("select"));
      [a.value, b.value] = [b.value, a.value];
      chosen();
    } }, "Swap");
    const values = () => [first, second].map((one) => one.querySelector("select").value);

    const box = el("section", { class: "panel asked", "aria-label": "What is asked" },
      el("label", { for: "text", class: "small soft" }, "Text"), area,
      el("div", { class: "asked-under" }, el("div", { class: "controls" }, count, quick), el("div", { class: "controls" }, first, second, swap)),
      alert, said);

    const tell = (answer, at, milliseconds) => {
      const cut = answer.n_given > answer.limit;
      count.textContent = cut
        ? `${format.count(answer.n_given)} tokens: the first ${answer.limit}, which are the model’s context, are read`
        : `${format.count(answer.n_given)} of ${answer.limit} tokens`;
      count.classList.toggle("cut", cut);
      quick.textContent = `answered in ${format.number(milliseconds, 2)} ms`;
      const strongest = answer.strongest[at]?.[0];
      said.textContent = count.textContent
        + (strongest ? `; strongest at ${token.spoken({ text: answer.tokens[at][0] })}: latent ${strongest[0]}` : "");
      alert.hidden = true;
    };
    const fail = (error) => {
      alert.textContent = error.message;
      alert.hidden = false;
    };
    // choose(name): the first autoencoder; members(): both, the second null where there is none
    const choose = (name) => { first.querySelector("select").value = name; };
    const both = () => {
      swap.hidden = values()[1] === "";
      return values().map((name) => members.find((one) => one.name === name) ?? null);
    };
    return { box, text: () => area.value, focus: () => area.focus(), choose, members: both, tell, fail };
  };
})();
