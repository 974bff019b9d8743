// Tables: rows of data under heads that say what they are.

import { h, svg } from "./dom.js";

/**
 * `columns`: `{ title, cell, number }`, where `cell` makes a row's content. `open`, if given, is
 * called with the row that was chosen: by a click anywhere, or the button that `opener` makes.
 */
export function table(label, columns, rows, { open, rowId } = {}) {
  const head = columns.map(({ title, number, unseen }) =>
    h("th", { scope: "col", class: number && "number" }, unseen ? h("span", { class: "unseen" }, title) : title));
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
    h("table", {}, h("caption", { class: "unseen" }, label), h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows.map((one) => row(columns, one, { open, rowId })))),
  );
}

/** One row, for tables that grow. */
export function row(columns, data, { open, rowId } = {}) {
  const cells = columns.map(({ cell, number }) => h("td", { class: number && "number" }, cell(data)));
  const chosen = open && ((event) => {
    if (!event.target.closest("button, a, input, select") && !getSelection().toString()) open(data);
  });
  return h("tr", { class: open && "link", onclick: chosen, "data-id": rowId?.(data) }, cells);
}

/** The name of a row, as a button that opens it. */
export const opener = (text, open) => h("button", { type: "button", class: "link-button", onclick: open }, text);

/** A name and, smaller, what belongs to it. */
export const named = (main, sub) => [h("span", { class: "main" }, main), sub && h("span", { class: "sub" }, sub)];

/** A share of the largest as a thin bar. The number stands beside it as text. */
export function share(part, whole) {
  const width = whole > 0 ? Math.max(0, Math.min(100, (100 * part) / whole)) : 0;
  return svg(
    "svg",
    { class: "share", "aria-hidden": "true" },
    svg("rect", { class: "track", width: "100%", height: 4, rx: 2 }),
    svg("rect", { class: "part", width: `${width}%`, height: 4, rx: 2 }),
  );
}
