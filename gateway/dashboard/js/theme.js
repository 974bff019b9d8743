// The colours: light, dark, or as the system says?

const NAME = "sluice.theme";
const TITLES = { system: "System colours", light: "Light", dark: "Dark" };
const ORDER = Object.keys(TITLES);

function chosen() {
  return document.documentElement.dataset.theme ?? "system";
}

function choose(name) {
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  try {
    localStorage.setItem(NAME, name);
  } catch {
    // Without storage the choice lasts until the page is closed.
  }
}

export const theme = {
  title: () => TITLES[chosen()],
  next: () => choose(ORDER[(ORDER.indexOf(chosen()) + 1) % ORDER.length]),
};
