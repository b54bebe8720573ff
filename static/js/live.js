/* Live pages: while it can be seen, a page asks for itself with the tag it was made from; 204 means that nothing changed. */
import { announce } from "./announce.js";

const EVERY = 2000;
const RARELY = 9; // times as long as the last answer took: whoever watches asks for a tenth of a server's time at most
const AT_LATEST = 60000; // whatever the last took: the machine may have slept meanwhile
let paused = false;
let busy = false;

async function look() {
  const main = document.getElementById("main");
  const tag = main?.dataset.live;
  if (!tag || paused || busy || document.hidden) return;
  busy = true;
  try {
    await htmx.ajax("GET", location.href, {
      source: main, target: main, select: "#main", swap: "outerMorph", push: "false", headers: { "Durascope-Tag": tag },
    });
  } catch {
    say("Connection lost");
  } finally {
    busy = false;
  }
}

async function watch() {
  const began = performance.now();
  await look();
  setTimeout(watch, Math.min(Math.max(EVERY, RARELY * (performance.now() - began)), AT_LATEST));
}

function say(word) {
  for (const place of document.querySelectorAll("[data-live-word]")) place.textContent = word;
}

function show() {
  const icon = document.querySelector("[data-favicon]")?.dataset.favicon;
  const link = document.querySelector("link[rel=icon]");
  if (icon && link.getAttribute("href") !== icon) link.setAttribute("href", icon);
  for (const control of document.querySelectorAll("[data-live-control]")) {
    control.hidden = !document.getElementById("main").dataset.live;
    const button = control.querySelector("[data-live-switch]");
    button.setAttribute("aria-pressed", String(paused));
    button.textContent = paused ? "Go on" : "Pause";
  }
  say(paused ? "Paused" : "Live");
}

export function startLive() {
  show();
  document.addEventListener("htmx:after:settle", show);
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-live-switch]")) return;
    paused = !paused;
    show();
    announce(paused ? "Paused" : "Live");
  });
  document.addEventListener("visibilitychange", look);
  setTimeout(watch, EVERY);
}
