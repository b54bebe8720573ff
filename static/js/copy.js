/* Copy buttons: shown only where copying works; they say "Copied". */
import { announce } from "./announce.js";

const BUTTON = "button:is([data-copy], [data-copy-json], [data-copy-of])";

export async function copy(text, what, button) {
  await navigator.clipboard.writeText(text);
  announce(`${what} copied`);
  button?.classList.add("done");
  setTimeout(() => button?.classList.remove("done"), 1200);
}

/* What an address answers: JSON, or where it is ``bare`` a text without its quotes. */
export async function copyFrom(address, what, button, bare = false) {
  const answer = await fetch(address);
  if (!answer.ok) {
    announce(`${what} could not be copied`);
    return;
  }
  const text = await answer.text();
  await copy(bare && text.startsWith('"') ? JSON.parse(text) : text, what, button);
}

function show(root) {
  for (const button of root.querySelectorAll(`${BUTTON}[hidden]`)) button.hidden = false;
}

export function startCopying() {
  if (!navigator.clipboard) return;
  show(document);
  document.addEventListener("htmx:after:settle", () => show(document));
  document.addEventListener("click", async (event) => {
    const button = event.target.closest(BUTTON);
    if (!button) return;
    const what = button.getAttribute("aria-label")?.replace(/^Copy /, "") ?? "Text";
    const { copy: text, copyJson: address, copyOf: id } = button.dataset;
    await (address ? copyFrom(address, what, button) : copy(text ?? document.getElementById(id).textContent, what, button));
  });
}
