// The chosen colours, before anything is drawn: without this the page would flash.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("sluice.theme");
  } catch {
    // Storage may be switched off; then the system's colours are used.
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
