/* Say something to screen readers. */
export function announce(words) {
  const region = document.getElementById("announce");
  region.textContent = "";
  requestAnimationFrame(() => { region.textContent = words; });
}
