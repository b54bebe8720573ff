/* Drag over the minimap to zoom to that part of the run: a change of the address, nothing else. */
const MIN = 0.01;

export function startMinimap() {
  let from = null;
  const share = (map, event) => {
    const box = map.getBoundingClientRect();
    return Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
  };
  document.addEventListener("pointerdown", (event) => {
    const map = event.target.closest?.("[data-minimap]");
    if (map) from = { map, at: share(map, event) };
  });
  document.addEventListener("pointerup", (event) => {
    if (!from) return;
    const { map, at } = from;
    from = null;
    const to = share(map, event);
    if (Math.abs(to - at) < MIN || map.querySelector(".gz")) return;
    const start = Date.parse(map.dataset.start);
    const span = Date.parse(map.dataset.end) - start;
    const moment = (part) => new Date(start + span * part).toISOString();
    const address = new URL(location.href);
    address.searchParams.set("from", moment(Math.min(at, to)));
    address.searchParams.set("to", moment(Math.max(at, to)));
    location.assign(address);
  });
}
