/* Links whose text can be copied instead of being opened: the run as Markdown. */
import { announce } from "./announce.js";

export function startCopyingFrom() {
  if (!navigator.clipboard) return;
  document.addEventListener("click", async (event) => {
    const link = event.target.closest("a[data-copy-from]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const answer = await fetch(link.href);
    await navigator.clipboard.writeText(await answer.text());
    link.classList.add("done");
    announce(`${link.dataset.copyFrom} copied`);
    setTimeout(() => link.classList.remove("done"), 1200);
  }, true);
}
