/* Drag over a minimap, or over the columns of a list, to choose a part of time: from the part where the drag began to the part where it ended. A click is a plain link. */
export function startMinimap() {
  let first = null;
  const part = (event) => document.elementFromPoint(event.clientX, event.clientY)?.closest(".mini a");
  document.addEventListener("pointerdown", (event) => { first = event.target.closest?.(".mini a") ?? null; });
  document.addEventListener("dragstart", (event) => { if (event.target.closest?.(".mini a")) event.preventDefault(); });
  document.addEventListener("pointerup", (event) => {
    const last = part(event);
    if (!first || !last || first === last) return;
    const [left, right] = first.compareDocumentPosition(last) & Node.DOCUMENT_POSITION_FOLLOWING ? [first, last] : [last, first];
    const until = left.parentElement.dataset.until;
    const address = new URL(left.href);
    address.searchParams.set(until, new URL(right.href).searchParams.get(until));
    left.href = address;
    left.click();
  });
}
