// What stands where data will be, or would be: loading, failed, nothing there.

import { h, icon } from "./dom.js";

const LINES = 6;
const TILES = 4;

/** Grey lines while something is under way. */
export const loading = () => waiting("lines", Array.from({ length: LINES }, () => grey("line")));

/** The same for a whole page. */
export function loadingPage() {
  const tiles = Array.from({ length: TILES }, () => h("div", { class: "card tile" }, grey("low")));
  return waiting("page-body", [h("div", { class: "tiles" }, tiles), h("div", { class: "card card-body" }, grey("tall"))]);
}

const grey = (shape) => h("div", { class: `skeleton ${shape}` });
const waiting = (shape, parts) => h("div", { class: shape, "aria-busy": "true", "aria-label": "Loading", role: "status" }, parts);

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
