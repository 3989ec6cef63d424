// Asking the server: JSON to and fro, one question of a kind at a time. A newer question drops the one before it.
"use strict";

saejax.ask = (() => {
  const TRIES = 3;
  const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

  const send = async (path, question, signal) => {
    for (let left = TRIES; ; left--) {
      let response;
      try {
        response = await fetch(`api/${path}`, question
          ? { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(question), signal }
          : { signal });
      } catch (error) {
        if (signal?.aborted) throw error;
        throw new Error("The server does not answer. Is it still running?");
      }
      const answer = await response.json();
      if (response.ok) return answer;
      if (response.status !== 503 || left <= 1) throw new Error(`The server refused: ${answer.error}.`);
      await wait(500);
    }
  };

  // channel("look"): (question) → promise of the answer, or of null where a newer question has taken its place
  const channel = (path) => {
    let current = null;
    return async (question) => {
      current?.abort();
      const own = new AbortController();
      current = own;
      try {
        const answer = await send(path, question, own.signal);
        return own === current ? answer : null;
      } catch (error) {
        if (own.signal.aborted) return null;
        throw error;
      }
    };
  };

  // later(f): f runs once, so many milliseconds after the last call
  const later = (f) => {
    let timer = 0;
    return (milliseconds) => {
      clearTimeout(timer);
      timer = setTimeout(f, milliseconds);
    };
  };
  return { get: (path) => send(path), channel, later };
})();
