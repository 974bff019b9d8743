// The address: which page is shown, and how? A link reproduces what was seen.

const HOME = "/dashboard";
let show = () => {};

/** `render` is called whenever the address has changed. */
export function follow(render) {
  show = render;
  window.addEventListener("popstate", () => show());
  document.addEventListener("click", clicked);
}

export function page() {
  return location.pathname.slice(HOME.length).replaceAll("/", "") || "overview";
}

export const param = (name) => new URLSearchParams(location.search).get(name);
export const params = () => Object.fromEntries(new URLSearchParams(location.search));

/** The address of a page with these parameters. */
export function link(name, given = {}) {
  const known = Object.entries(given).filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false);
  const text = new URLSearchParams(known).toString();
  return `${HOME}/${name}${text && `?${text}`}`;
}

/** The address of this page with some parameters changed; null removes one. */
export const changed = (given) => link(page(), { ...params(), ...given });

/** Go there. */
export function go(href) {
  if (href !== location.pathname + location.search) history.pushState(null, "", href);
  show();
}

/** Let the address say something that is already shown. */
export function note(given) {
  history.replaceState(null, "", changed(given));
}

function clicked(event) {
  const anchor = event.target.closest?.("a[href]");
  const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (!anchor || !plain || event.defaultPrevented || anchor.origin !== location.origin) return;
  if (anchor.target || anchor.hasAttribute("download") || !anchor.pathname.startsWith(HOME)) return;
  if (anchor.hash && anchor.pathname === location.pathname) return;
  event.preventDefault();
  go(anchor.pathname + anchor.search);
}
