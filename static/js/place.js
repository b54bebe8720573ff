/* Following a link inside the page keeps the reader's place: the new part is scrolled to only as far as it must be. */
let anchor = "";

export function startPlace() {
  document.addEventListener("htmx:before:request", (event) => {
    const { request } = event.detail.ctx;
    anchor = request.anchor ?? "";
    delete request.anchor;
  });
  document.addEventListener("htmx:after:settle", () => {
    if (!anchor) return;
    const place = document.getElementById(anchor);
    anchor = "";
    place?.scrollIntoView({ block: "nearest" });
    (place?.querySelector("a.name") ?? place?.querySelector("[data-close]"))?.focus({ preventScroll: true });
  });
}
