// What every page does: parts that refresh themselves, copy buttons, forms that are sent once.
"use strict";

// ---- parts that refresh themselves: <section data-poll hx-get="…" hx-trigger="poll" …>, every 5 s while somebody looks

const POLL_MS = 5000;

function poll() {
  if (document.visibilityState !== "visible") return;
  for (const part of document.querySelectorAll("[data-poll]")) {
    // nothing is swapped under a person's hands: an open menu, a selection that is being copied
    if (document.getSelection()?.isCollapsed === false && part.contains(document.getSelection().anchorNode)) continue;
    htmx.trigger(part, "poll");
  }
}

if (document.querySelector("[data-poll]")) {
  setInterval(poll, POLL_MS);
  document.addEventListener("visibilitychange", poll);
}

// ---- copy buttons: <button data-copy="text" hidden>, shown only where there is a clipboard

function showCopyButtons(root) {
  if (navigator.clipboard) for (const button of root.querySelectorAll("[data-copy][hidden]")) button.hidden = false;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  const word = button.querySelector("[data-word]") ?? button;
  const before = word.textContent;
  await navigator.clipboard.writeText(button.dataset.copy);
  word.textContent = "Copied";
  setTimeout(() => { word.textContent = before; }, 2000);
});
showCopyButtons(document);
document.addEventListener("htmx:after:swap", () => showCopyButtons(document));

// ---- a form is sent once: a second click on its button does nothing (the server would not act twice anyway)

document.addEventListener("submit", (event) => {
  if (event.defaultPrevented || event.target.method !== "post") return;
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "yes";
});
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});
