/* Choosing runs of a list: says how many are chosen, chooses all that are shown; what is chosen stays so when the page renews itself. */
let chosen = new Set();

const boxes = () => [...document.querySelectorAll(".picks .pick input")];

function show() {
  const said = document.querySelector("[data-selected]");
  if (!said) return;
  const words = chosen.size ? `${chosen.size} selected` : "none selected";
  if (said.textContent !== words) said.textContent = words;
  document.querySelector("[data-retry]").disabled = !chosen.size;
  const link = document.querySelector("[data-select]");
  link.dataset.select = chosen.size === boxes().length ? "none" : "all";
  link.textContent = link.dataset.select === "none" ? "Select none" : `Select all ${boxes().length}`;
}

function read() {
  chosen = new Set(boxes().filter((box) => box.checked).map((box) => box.value));
  show();
}

/* A run that is no longer shown is no longer chosen: what can be seen is what is sent. */
function keep() {
  for (const box of boxes()) box.checked = chosen.has(box.value);
  read();
}

export function startPicking() {
  read();
  addEventListener("pageshow", read);
  document.addEventListener("htmx:after:settle", keep);
  document.addEventListener("change", (event) => { if (event.target.closest(".pick")) read(); });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-select]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    for (const box of boxes()) box.checked = link.dataset.select === "all";
    read();
  });
}
