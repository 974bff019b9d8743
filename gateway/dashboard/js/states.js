// What stands where data will be, or would be: loading, failed, nothing there.

import { h, icon, put } from "./dom.js";

/** Grey lines while something is under way. */
export function loading(shape = "lines") {
  const kinds = { lines: Array(6).fill("line"), chart: ["tall"], tile: ["low"], text: Array(3).fill("line") };
  const parts = kinds[shape].map((kind) => h("div", { class: `skeleton ${kind}` }));
  return h("div", { "aria-busy": "true", "aria-label": "Loading", role: "status" }, parts);
}

/** What went wrong, and a button that tries again. */
export function failed(error, retry) {
  return h(
    "div",
    { class: "state", role: "alert" },
    icon("fault"),
    h("strong", {}, "This could not be shown"),
    h("p", {}, error.message),
    retry && h("button", { class: "button", type: "button", onclick: retry }, "Try again"),
  );
}

/** Nothing there, and what to do about it. */
export function empty(title, text, ...actions) {
  return h("div", { class: "state" }, icon("empty"), h("strong", {}, title), text && h("p", {}, text), actions);
}

/** Fill a place with what `load` gets and `draw` makes of it, in all its states. */
export async function fillWith(place, load, draw, shape = "lines") {
  put(place, loading(shape));
  try {
    const data = await load();
    put(place, draw(data));
  } catch (error) {
    if (error.name === "AbortError") return;
    put(place, failed(error, () => fillWith(place, load, draw, shape)));
  }
}
