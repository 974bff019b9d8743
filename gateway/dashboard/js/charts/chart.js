// Charts: series over time, drawn to fit, told under the pointer, and as a table for who cannot see.

import { h, icon, newId, put, svg } from "../dom.js";
import { bands, everyNth, ticks, upwards } from "./scale.js";
import { dataTable, legend, tip } from "./beside.js";

const HEIGHT = 240;
const FOOT = 24;
const HEAD = 10;
const LETTER = 6.6;

/**
 * A chart. `kind` is `bars` or `lines` of marks.js; `labels` have `short` and `long` texts, one for
 * each value; `series` are `{ name, values, tone }`; `format` writes a value, `axis` one of an axis.
 */
export function chart({ title, kind, labels, series, format, axis = format, height = HEIGHT, sums = true }) {
  const hidden = new Set();
  const canvas = svg("svg", { class: "plot", role: "img", tabindex: "0", height });
  const tooltip = tip();
  const place = h("div", { class: "plot-place" }, canvas, tooltip.element);
  const id = newId("data");
  const data = h("div", { id, class: "chart-data", hidden: true });
  const asTable = h("button", { type: "button", class: "button quiet small", "aria-expanded": "false", "aria-controls": id, onclick: toggleTable }, icon("table"), "Table");
  const figure = h(
    "figure",
    { class: "chart" },
    place,
    h("figcaption", { class: "chart-foot" }, legend(series, { hidden, format: sums ? format : null, redraw, light }), asTable),
    data,
  );
  canvas.setAttribute("aria-label", summary());
  let frame = null;
  let cursor = null;

  function summary() {
    const told = series.map((one) => `${one.name}${sums ? ` ${format(one.values.reduce((sum, value) => sum + (value ?? 0), 0))}` : ""}`);
    const span = labels.length ? `, ${labels[0].long} to ${labels.at(-1).long}` : "";
    return `${title}${span}: ${told.join(", ")}. Arrow keys move through the values.`;
  }

  function toggleTable() {
    if (!data.hasChildNodes()) put(data, dataTable(title, labels, series, format));
    data.hidden = !data.hidden;
    asTable.setAttribute("aria-expanded", String(!data.hidden));
  }

  function redraw() {
    const width = place.clientWidth;
    if (!width) return;
    const shown = series.filter((one) => !hidden.has(one.name));
    const most = kind.most(shown, labels.length);
    const marks = ticks(most);
    const named = most > 0 ? marks : [0]; // of nothing, 1 of the unit would be a strange mark
    const left = Math.max(...named.map((mark) => axis(mark, marks.at(-1)).length)) * LETTER + 12;
    const inner = { width: Math.max(10, width - left - 4), height: height - FOOT - HEAD };
    const band = bands(labels.length, inner.width);
    const y = upwards(marks.at(-1), inner.height);
    frame = { ...inner, left, band, y, shown };
    cursor = svg("g");
    canvas.setAttribute("width", width);
    canvas.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const inside = svg("g", { transform: `translate(${left} ${HEAD})` }, grid(named), cursor, kind.draw(shown, labels.length, frame), foot());
    put(canvas, inside);
    if (kind.dots) inside.append(cursor);
  }

  function grid(marks) {
    return marks.map((mark) => {
      const at = Math.round(frame.y(mark)) + 0.5;
      return [svg("line", { class: mark ? "grid" : "grid base", x1: 0, x2: frame.width, y1: at, y2: at }), svg("text", { class: "axis", x: -8, y: at + 4, "text-anchor": "end" }, axis(mark, marks.at(-1)))];
    });
  }

  function foot() {
    const widest = Math.max(0, ...labels.map(({ short }) => short.length)) * LETTER + 18;
    const nth = everyNth(labels.length, frame.width, widest);
    return labels.map(({ short }, at) => at % nth === 0 && svg("text", { class: "axis", x: frame.band.middle(at), y: frame.height + 18, "text-anchor": "middle" }, short));
  }

  function point(at) {
    if (!frame || !labels.length) return;
    const x = frame.band.middle(at);
    const shade = svg("rect", { class: "lit", x: frame.band.left(at) - 4, width: frame.band.size + 8, height: frame.height, rx: 4 });
    const line = svg("line", { class: "hair", x1: x, x2: x, y1: 0, y2: frame.height });
    put(cursor, kind.dots ? [line, kind.dots(frame.shown, at, frame)] : shade);
    tooltip.show({ title: labels[at].long, at, series: frame.shown, format, sums }, frame.left + x, place.clientWidth);
    canvas.dataset.at = at;
  }

  function leave() {
    if (cursor) put(cursor);
    tooltip.hide();
    delete canvas.dataset.at;
  }

  function light(name) {
    const tone = series.find((one) => one.name === name)?.tone;
    if (tone === undefined) delete canvas.dataset.lit;
    else canvas.dataset.lit = tone;
  }

  canvas.addEventListener("pointermove", (event) => point(frame.band.at(event.clientX - canvas.getBoundingClientRect().left - frame.left)));
  canvas.addEventListener("pointerleave", leave);
  canvas.addEventListener("blur", leave);
  canvas.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    if (event.key === "Escape") leave();
    if (!(event.key in moves) || !labels.length) return;
    event.preventDefault();
    const from = canvas.dataset.at === undefined ? (moves[event.key] > 0 ? -1 : labels.length) : Number(canvas.dataset.at);
    point(Math.max(0, Math.min(labels.length - 1, from + moves[event.key])));
  });
  new ResizeObserver(redraw).observe(place);
  return figure;
}
