// Data comes as scripts, since a page opened from the file system may not fetch: each calls saejax.receive(name, value) once.
"use strict";

(() => {
  const waiting = new Map(); // path → promise of its value
  const settle = new Map(); // name → what to call with the value

  // A data path names a file of ours below data/; nothing else is ever loaded. The browser holds us to it, by the page's
  // Content-Security-Policy: a script's address must have come through this policy.
  const DATA = /^data\/(?:[\w.+=-]+\/)*[\w.+=-]+\.js$/;
  const address = (path) => {
    if (!DATA.test(path) || path.includes("..")) throw new Error(`${path}: not a data file's name`);
    return path;
  };
  const policy = self.trustedTypes?.createPolicy("saejax-data", { createScriptURL: address }) ?? { createScriptURL: address };

  saejax.receive = (name, value) => {
    settle.get(name)?.(value);
    settle.delete(name);
  };

  // load("data/x.js") → promise of what that file gives to receive("x", …), loaded once.
  saejax.load = (path) => {
    if (waiting.has(path)) return waiting.get(path);
    const promise = new Promise((resolve, reject) => {
      settle.set(path.slice("data/".length, -".js".length), resolve);
      const script = document.createElement("script");
      script.src = policy.createScriptURL(path);
      script.onload = () => script.remove();
      script.onerror = () => reject(new Error(`${path} is missing; run --tasks=interface again`));
      document.head.append(script);
    });
    waiting.set(path, promise);
    return promise;
  };
})();
