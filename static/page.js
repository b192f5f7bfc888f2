// What every page does: parts that refresh themselves, copy buttons, forms that are sent once.
"use strict";

(() => {
  const LOOK = 5_000; // ms between two questions, while somebody looks
  const QUIET = 16_000; // ms without an answer after which the page says so

  // <div data-poll hx-get="…" hx-trigger="poll">: its fragment carries [data-drawn], the server's clock, so a new value is a sign of life.
  function refresh(part) {
    const lost = document.getElementById("lost");
    const drawn = () => part.querySelector("[data-drawn]")?.dataset.drawn;
    let seen = drawn();
    let heard = Date.now();

    function ask() {
      const selection = document.getSelection();
      const copying = selection && !selection.isCollapsed && part.contains(selection.anchorNode);
      if (drawn() !== seen || document.hidden || copying) heard = Date.now();
      seen = drawn();
      if (lost) {
        lost.hidden = Date.now() - heard < QUIET;
        lost.querySelector("[data-ago]").textContent = String(Math.round((Date.now() - heard) / 1000));
      }
      // nothing is swapped under a selection that somebody is about to copy
      if (!document.hidden && !copying) htmx.trigger(part, "poll");
    }

    setInterval(ask, LOOK);
    document.addEventListener("visibilitychange", ask);
  }

  for (const part of document.querySelectorAll("[data-poll]")) refresh(part);

  // <button data-copy="text">, shown by the stylesheet only where there is a clipboard
  if (navigator.clipboard) document.documentElement.classList.add("can-copy");
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-copy]");
    if (!button) return;
    const word = button.querySelector("[data-word]") ?? button;
    const before = word.textContent;
    await navigator.clipboard.writeText(button.dataset.copy);
    word.textContent = "Copied";
    setTimeout(() => { word.textContent = before; }, 2_000);
  });

  // A second click on a form's button does nothing (the server would not act twice anyway); after "back" the form is fresh.
  document.addEventListener("submit", (event) => {
    if (event.defaultPrevented || event.target.method !== "post") return;
    if (event.target.dataset.sent) event.preventDefault();
    event.target.dataset.sent = "yes";
  });
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  });
})();
