/* The payload tree: the value or the JSONPath of a line to copy, and arrow keys from line to line. */
import { copyFrom, copy } from "./copy.js";

const LINE = ".json summary, .json li > span";
let offered;

function pathOf(line) {
  let path = "";
  for (let item = line.closest("li"); item; item = item.parentElement.closest(".json li")) {
    if (item.dataset.key === undefined) return "";
    path = item.dataset.key + path;
  }
  const root = line.closest(".json").dataset.path;
  return root && root + path;
}

function button(words, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "btn bare";
  made.textContent = words;
  made.addEventListener("click", () => act(made));
  return made;
}

/* Beside a line, and after it in the order of the Tab key; never inside a summary, which is a control itself. */
function offer(line) {
  if (line === offered && document.querySelector(".copies")) return;
  const item = line.closest("li");
  const { at } = item.dataset;
  if (at === undefined) return;
  document.querySelector(".copies")?.remove();
  offered = line;
  const tools = document.createElement("div");
  tools.className = "copies";
  const { base } = line.closest(".json").dataset;
  tools.append(button("Copy value", (made) => copyFrom(`${base}?as=json&at=${at}`, "Value", made, true)));
  const path = pathOf(line);
  if (path) tools.append(button("Copy path", (made) => copy(path, `Path ${path}`, made)));
  const details = line.parentElement;
  (line.tagName === "SUMMARY" && !details.open ? details : line).after(tools);
}

function step(from, by) {
  const lines = [...from.closest(".json").querySelectorAll("summary, li > span")].filter((line) => line.checkVisibility());
  const next = lines[lines.indexOf(from) + by];
  if (!next) return;
  if (next.tagName !== "SUMMARY") next.tabIndex = -1;
  next.focus();
}

export function startTree() {
  document.addEventListener("keydown", (event) => {
    const line = event.target.closest?.(LINE);
    if (!line || event.target !== line || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    event.preventDefault();
    step(line, event.key === "ArrowDown" ? 1 : -1);
  });
  if (!navigator.clipboard) return;
  for (const happens of ["pointerover", "focusin"]) {
    document.addEventListener(happens, (event) => {
      const line = event.target.closest?.(LINE);
      if (line) offer(line);
    });
  }
  document.addEventListener("toggle", (event) => {
    const line = event.target.querySelector(":scope > summary");
    if (line !== offered) return;
    offered = undefined;
    offer(line);
  }, true);
}
