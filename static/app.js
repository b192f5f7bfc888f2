// The panel's own script: what htmx does not do by itself. No inline script, no eval: the policy forbids both.
"use strict";

(() => {
  const QUIET = 12_000; // ms without a sign of life after which the page asks by itself
  const LOOK = 5_000; // ms between two looks at the clock, and between two questions of its own

  // A live page: `#stream` gets `changed` and `beat` from the server. When neither comes, say so and ask by `stale`, which refreshes
  // the live part and opens the stream again.
  function watch(stream) {
    const lost = document.getElementById("lost");
    const ago = lost?.querySelector("[data-ago]");
    let heard = Date.now();
    const alive = () => {
      heard = Date.now();
      if (lost) lost.hidden = true;
    };
    for (const sign of ["changed", "beat"]) stream.addEventListener(sign, alive);
    // a hidden tab is disconnected on purpose: its silence says nothing
    document.addEventListener("visibilitychange", () => { if (!document.hidden) heard = Date.now(); });
    const clock = setInterval(() => {
      const silent = Date.now() - heard;
      if (document.hidden || silent < QUIET) return;
      if (ago) ago.textContent = String(Math.round(silent / 1000));
      if (lost) lost.hidden = false;
      htmx.trigger(stream, "stale");
    }, LOOK);
    stream.addEventListener("ended", () => {
      clearInterval(clock);
      if (lost) lost.hidden = true;
    });
  }

  document.addEventListener("DOMContentLoaded", () => {
    const stream = document.getElementById("stream");
    if (stream) watch(stream);
  });
})();
