// Beside a chart: what its colours mean, what is under the pointer, and all of it as a table.

import { h, put } from "../dom.js";
import { table } from "../table.js";

const TOLD = 10;

/** Buttons with the colours. One hides its series, or shows it again. */
export function legend(series, { hidden, format, redraw, light }) {
  const item = (one) => {
    const sum = format && format(one.values.reduce((total, value) => total + (value ?? 0), 0));
    const button = h(
      "button",
      {
        type: "button", "aria-pressed": "true", onclick: () => toggle(one, button),
        onpointerenter: () => light(one.name), onpointerleave: () => light(null),
      },
      h("span", { class: `swatch tone-${one.tone}` }),
      h("span", { class: "name" }, one.name),
      sum && h("span", { class: "sum" }, sum),
    );
    return button;
  };

  function toggle(one, button) {
    if (!hidden.delete(one.name) && hidden.size < series.length - 1) hidden.add(one.name);
    button.setAttribute("aria-pressed", String(!hidden.has(one.name)));
    redraw();
  }

  return h("div", { class: "legend", role: "group", "aria-label": "Series" }, series.map(item));
}

/** The box that follows the pointer. It is read out when it was moved by keyboard, too. */
export function tip() {
  const element = h("div", { class: "tip", hidden: true, role: "status", "aria-live": "polite" });
  return {
    element,
    hide() {
      element.hidden = true;
    },
    show({ title, at, series, format, sums }, x, width) {
      const known = series.filter((one) => one.values[at] !== null && one.values[at] !== undefined);
      const parts = sums ? known.filter((one) => one.values[at] > 0).reverse() : known;
      const total = sums && parts.length > 1 && format(parts.reduce((sum, one) => sum + one.values[at], 0));
      put(
        element,
        h("div", { class: "tip-head" }, h("span", {}, title), total && h("strong", {}, total)),
        parts.slice(0, TOLD).map((one) => h("div", { class: "tip-line" }, h("span", { class: `swatch tone-${one.tone}` }), h("span", { class: "name" }, one.name), h("span", {}, format(one.values[at])))),
        !parts.length && h("div", { class: "tip-line muted" }, "Nothing"),
      );
      element.hidden = false;
      const half = element.offsetWidth / 2;
      const right = x + 16 + 2 * half <= width;
      const left = right ? x + 16 : Math.max(0, x - 16 - 2 * half);
      element.style.setProperty("left", `${left}px`);
    },
  };
}

/** The same values for reading and copying. */
export function dataTable(title, labels, series, format) {
  const columns = [
    { title: "Time", cell: ({ long }) => long },
    ...series.map((one) => ({ title: one.name, number: true, cell: ({ at }) => format(one.values[at]) })),
  ];
  return table(title, columns, labels.map((label, at) => ({ ...label, at })));
}
