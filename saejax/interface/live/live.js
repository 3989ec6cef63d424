// live.html: a text that the model reads while it is typed. What is typed, chosen or turned changes the state, and asks anew.
"use strict";

(() => {
  const { el, byId, ask, shell, keys, address } = saejax;
  const TYPED = 120; // milliseconds of rest before the model is asked
  const TURNED = 40;
  const SAMPLED = 250; // and before it is asked for continuations, which take longest
  const TEXT = "Return a new array of given shape and type, filled with zeros. The dtype";

  const build = (members, { most_latents: most, most_characters: characters }, asked) => {
    // pinned: the token after which the next is looked at, null for the last; changes: of the losses, by what is turned
    const state = { pinned: null, changes: null };
    const form = saejax.liveForm({ members, characters, text: TEXT,
      typed: () => { reset(); askAll(TYPED); },
      chosen: () => { choose(); askAll(0); } });
    const turning = saejax.turning({ most: most - 1, changed: () => askAll(TURNED) });
    const next = saejax.nextToken();
    const continuation = saejax.continuation(() => sample(TURNED));

    const column = (turn) => {
      // picked: by a person; otherwise the chosen latent is the strongest, whatever the text becomes
      const own = { member: null, chosen: null, picked: false, answer: null, ask: ask.channel("look") };
      own.reading = saejax.reading({
        look: (i) => shown().forEach((one) => one.reading.look(i)),
        pin: (i) => {
          state.pinned = i;
          shown().forEach((one) => one.reading.pin(i));
          change(0);
        },
        pick: (latent) => {
          Object.assign(own, { chosen: latent, picked: true });
          look(0);
        },
        turn,
      });
      return own;
    };
    const first = column((latent) => turning.add(latent));
    const second = column(null);
    const shown = () => [first, second].filter((one) => one.member && one.answer);
    const readings = el("div", { class: "readings" });

    const reset = () => Object.assign(state, { pinned: null, changes: null });
    // choose(): the autoencoders that the form names; latents are another's by the same number
    const choose = () => {
      form.members().forEach((member, i) => {
        const one = [first, second][i];
        if (one.member === member) return;
        Object.assign(one, { member, chosen: null, picked: false, answer: null });
        if (one === first) {
          turning.clear(member.n_latents);
          state.changes = null;
        }
      });
      readings.replaceChildren(...[first, second].filter((one) => one.member).map((one) => one.reading.box));
      readings.classList.toggle("compared", second.member !== null);
    };

    const at = (answer) => Math.min(state.pinned ?? Infinity, answer.tokens.length - 1);
    const draw = (one) => one.reading.show({ answer: one.answer, member: one.member, chosen: one.chosen, pinned: at(one.answer),
      changes: one === first && turning.edits.length ? state.changes : null });

    // The strongest at the chosen token, or at the last that has any
    const strongest = (answer) =>
      (answer.strongest[at(answer)]?.[0] ?? answer.strongest.findLast((row) => row.length)?.[0] ?? [null])[0];

    const read = async (one) => {
      const question = () => ({ member: one.member.name, text: form.text(), latents: one.chosen === null ? [] : [one.chosen] });
      let answer = await one.ask(question());
      if (answer && !one.picked && strongest(answer) !== one.chosen) {
        one.chosen = strongest(answer);
        answer = await one.ask(question());
      }
      if (!answer) return;
      one.answer = answer;
      if (one === first) turning.told(answer.labels);
      draw(one);
    };

    const asking = (f) => ask.later(() => f().catch(form.fail));
    const look = asking(async () => {
      const began = performance.now();
      await Promise.all([first, second].filter((one) => one.member).map(read));
      if (first.answer) form.tell(first.answer, at(first.answer), performance.now() - began);
    });
    const askChange = ask.channel("change");
    const change = asking(async () => {
      const edits = turning.edits.map((edit) => ({ ...edit }));
      const answer = await askChange({ member: first.member.name, text: form.text(), edits, position: state.pinned });
      if (!answer) return;
      state.changes = answer.loss_change;
      next.show(answer, edits.length > 0);
      if (first.answer) draw(first);
    });
    const askSample = ask.channel("sample");
    const sample = asking(async () => {
      const edits = turning.edits.map((edit) => ({ ...edit }));
      const answer = await askSample({ member: first.member.name, text: form.text(), edits, ...continuation.options });
      if (answer) continuation.show(answer, edits.length > 0);
    });
    const askAll = (milliseconds) => {
      look(milliseconds);
      change(milliseconds);
      sample(Math.max(milliseconds, SAMPLED));
    };

    byId("page").replaceChildren(
      el("div", { class: "lead" }, el("h1", {}, "Live"),
        el("p", {}, "The model reads what you type. Point at a token to see its strongest latents, choose it to see what comes after, "
          + "and turn latents down or up to see what that changes.")),
      form.box,
      el("div", { class: "live" }, readings, el("div", { class: "outcome" }, turning.box, next.box), continuation.box));
    keys.bind(["/"], "to the text", form.focus);
    keys.bind(["u"], "up to the overview", () => { location.href = "index.html"; });

    const named = members.find((one) => one.folder && one.folder === asked.folder) ?? members.find((one) => one.folder && one.recommended)
      ?? members.find((one) => one.folder) ?? members[0];
    form.choose(named.name);
    choose();
    if (asked.folder === named.folder && asked.latent !== null && asked.latent < named.n_latents) {
      Object.assign(first, { chosen: asked.latent, picked: true });
    }
    askAll(0);
  };

  const start = async () => {
    shell.title("Live");
    shell.bar([{ text: "live" }]);
    const [about, sweep] = await Promise.all([ask.get("members"), saejax.load("data/sweep.js")]);
    const rows = new Map(sweep.members.map((row) => [row.name, row]));
    const members = about.members.map((one) => ({ ...one, folder: rows.get(one.name)?.folder ?? null,
      recommended: Boolean(rows.get(one.name)?.recommended.length) }));
    build(members, about, address.read());
  };
  start().catch(shell.fail);
  addEventListener("hashchange", () => location.reload());
})();
