// Elements: how is a page made of data? Text goes in as text: nothing here reads markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element with properties and children. `class`, `on…` and `aria-…` are as in markup. */
export function h(tag, given = {}, ...children) {
  return fill(document.createElement(tag), given, children);
}

/** The same of an SVG. */
export function svg(tag, given = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), given, children);
}

/** Replace all that is in an element. */
export function put(element, ...children) {
  element.replaceChildren(...flat(children));
  return element;
}

function fill(element, given, children) {
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else if (name === "style") throw new Error("styles belong into classes");
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...flat(children));
  return element;
}

function flat(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

const ICONS = {
  overview: ["M4 19V11", "M10 19V5", "M16 19v-6", "M21 19H3"],
  keys: ["M14.5 9.5 21 3", "M18 6l2.5 2.5", "M10 19a5 5 0 1 0 0-10 5 5 0 0 0 0 10Z"],
  calls: ["M4 6h16", "M4 12h10", "M4 18h13"],
  providers: ["M5 4h14v6H5z", "M5 14h14v6H5z", "M8.5 7h.01", "M8.5 17h.01"],
  cache: ["M4 7c0-1.7 3.6-3 8-3s8 1.3 8 3-3.6 3-8 3-8-1.3-8-3Z", "M4 7v10c0 1.7 3.6 3 8 3s8-1.3 8-3V7", "M4 12c0 1.7 3.6 3 8 3s8-1.3 8-3"],
  playground: ["M5 4.5v15l14-7.5z"],
  audit: ["M12 7v5l3 2", "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Z"],
  status: ["M3 12h4l3 7 4-14 3 7h4"],
  menu: ["M4 7h16", "M4 12h16", "M4 17h16"],
  close: ["M6 6l12 12", "M18 6 6 18"],
  search: ["M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14Z", "m20 20-4-4"],
  plus: ["M12 5v14", "M5 12h14"],
  copy: ["M9 9h10v11H9z", "M15 9V4H5v11h4"],
  theme: ["M20 14.5A8 8 0 0 1 9.5 4 8 8 0 1 0 20 14.5Z"],
  leave: ["M14 4h5v16h-5", "M10 8l-4 4 4 4", "M6 12h9"],
  table: ["M4 5h16v14H4z", "M4 10h16", "M10 10v9"],
  stop: ["M7 7h10v10H7z"],
  reset: ["M4 12a8 8 0 1 0 2.5-5.8", "M4 4v5h5"],
  empty: ["M4 13h4l2 3h4l2-3h4", "M6 5h12l2 8v6H4v-6z"],
  fault: ["M12 8v5", "M12 16.5h.01", "M10.3 4 2.6 18a2 2 0 0 0 1.7 3h15.4a2 2 0 0 0 1.7-3L13.7 4a2 2 0 0 0-3.4 0Z"],
};

/** A small drawing that says nothing by itself: the text beside it, or a label, does. */
export function icon(name) {
  const paths = ICONS[name].map((d) => svg("path", { d }));
  return svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, paths);
}

let made = 0;

/** An id that nothing else on the page has. */
export function newId(stem) {
  made += 1;
  return `${stem}-${made}`;
}
