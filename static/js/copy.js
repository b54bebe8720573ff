/* Copy buttons: shown only where copying works; they say "Copied". */
import { announce } from "./announce.js";

export async function copy(text, what) {
  await navigator.clipboard.writeText(text);
  announce(`${what} copied`);
}

function show(root) {
  for (const button of root.querySelectorAll("button[data-copy][hidden]")) button.hidden = false;
}

export function startCopying() {
  if (!navigator.clipboard) return;
  show(document);
  document.addEventListener("htmx:after:settle", () => show(document));
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    await copy(button.dataset.copy, button.getAttribute("aria-label")?.replace(/^Copy /, "") ?? "Text");
    button.classList.add("done");
    setTimeout(() => button.classList.remove("done"), 1200);
  });
}
