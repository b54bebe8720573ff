/* Keys, off while typing. The rows of a list or a timeline are its links; focus is where the reader is. */
import { copy } from "./copy.js";

const GO = { f: "/", r: "/runs/", c: "/compare/" };
let prefix = "";
let forgetting;

const rows = () => [...document.querySelectorAll(".row > a.name, .tbl.runs tbody .key a, .tbl.fleet tbody .key a, .aligned tbody th a")];
const differences = () => rows().filter((link) => link.closest("[data-differs]"));
const failures = () => document.querySelector(".aligned") ? differences() : rows().filter((link) => link.closest(".row.bad, tr")?.querySelector(".c-fail"));

function move(links, by) {
  if (!links.length) return;
  const at = document.activeElement.closest(".tbl tr")?.querySelector(".key a") ?? document.activeElement;
  const here = links.indexOf(at);
  const all = rows();
  let next = here + by;
  if (here < 0) {
    const from = all.indexOf(at);
    next = by > 0 ? links.findIndex((link) => all.indexOf(link) > from) : links.findLastIndex((link) => all.indexOf(link) < from);
  }
  const link = links[Math.min(Math.max(next, 0), links.length - 1)];
  link.focus();
  link.scrollIntoView({ block: "nearest" });
}

function follow(selector) {
  document.querySelector(selector)?.click();
}

const actions = {
  "/": () => document.getElementById("q").focus(),
  "?": () => { location.href = "/keys/"; },
  j: () => move(rows(), 1),
  k: () => move(rows(), -1),
  n: () => move(failures(), 1),
  p: () => move(failures(), -1),
  o: () => document.activeElement.closest(".row")?.querySelector(".tw")?.click(),
  e: () => document.querySelectorAll(".json details").forEach((details) => { details.open = true; }),
  w: () => document.querySelectorAll(".json details").forEach((details) => { details.open = false; }),
  x: () => document.activeElement.closest("tr")?.querySelector(".pick input")?.click(),
  r: () => follow("[data-retry]"),
  u: () => follow("[data-up]"),
  y: () => follow("button[data-copy]"),
  c: () => navigator.clipboard && copy(location.href, "Link"),
  t: () => follow("[data-theme-switch]"),
  Escape: () => follow("[data-close]"),
  "+": () => follow('[data-key="+"]'),
  "-": () => follow('[data-key="-"]'),
  0: () => follow('[data-key="0"]'),
  "[": () => follow('[data-key="["]'),
  "]": () => follow('[data-key="]"]'),
  ArrowLeft: () => follow('[data-key="ArrowLeft"]'),
  ArrowRight: () => follow('[data-key="ArrowRight"]'),
};

function typing(target) {
  return target.isContentEditable || target.matches("input:not([type=checkbox]), select, textarea");
}

export function startKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (typing(event.target)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (prefix === "g") {
      prefix = "";
      if (GO[event.key]) location.href = GO[event.key];
      return;
    }
    if (event.key === "g") {
      prefix = "g";
      clearTimeout(forgetting);
      forgetting = setTimeout(() => { prefix = ""; }, 3000);
      return;
    }
    const action = actions[event.key];
    if (!action) return;
    if (!event.key.startsWith("Arrow")) event.preventDefault();
    action();
  });
}
