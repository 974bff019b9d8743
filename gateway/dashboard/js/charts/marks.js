// Marks: what is drawn of series, as stacked bars or as lines?

import { svg } from "../dom.js";

const ROUND = 3;

/** Stacked bars; the largest sum of a bar is what the scale has to hold. */
export const bars = {
  most: (series, count) => Math.max(0, ...Array.from({ length: count }, (_, at) => series.reduce((sum, one) => sum + (one.values[at] ?? 0), 0))),
  draw(series, count, { y, band }) {
    const drawn = [];
    for (let at = 0; at < count; at += 1) {
      let below = 0;
      const parts = series.filter((one) => one.values[at] > 0);
      parts.forEach((one, place) => {
        const top = y(below + one.values[at]);
        const height = y(below) - top;
        below += one.values[at];
        const shape = { class: `mark tone-${one.tone}`, "data-at": at };
        const last = place === parts.length - 1;
        drawn.push(svg("path", { ...shape, d: block(band.left(at), top, band.size, height, last) }));
      });
    }
    return drawn;
  },
};

function block(x, y, width, height, rounded) {
  const r = rounded ? Math.min(ROUND, width / 2, height) : 0;
  const gap = !rounded && height > 2 ? 0.75 : 0; // a hair of air between what is stacked
  const top = y + gap;
  return `M${x} ${y + height}V${top + r}q0 ${-r} ${r} ${-r}H${x + width - r}q${r} 0 ${r} ${r}V${y + height}Z`;
}

/** Lines with gaps where nothing is known; the first one has a shade below it. */
export const lines = {
  most: (series) => Math.max(0, ...series.flatMap((one) => one.values.map((value) => value ?? 0))),
  draw(series, count, { y, band, height }) {
    return series.flatMap((one, place) => runs(one.values).flatMap((run) => {
      const points = run.map((at) => `${band.middle(at)} ${y(one.values[at])}`);
      const path = `M${points.join("L")}`;
      const area = `${path}L${band.middle(run.at(-1))} ${height}L${band.middle(run[0])} ${height}Z`;
      const alone = run.length === 1 && svg("circle", { class: `dot tone-${one.tone}`, cx: band.middle(run[0]), cy: y(one.values[run[0]]), r: 2.5 });
      return [
        place === 0 && run.length > 1 && svg("path", { class: `area tone-${one.tone}`, d: area }),
        svg("path", { class: `line tone-${one.tone} ${one.dashed ? "dashed" : ""}`, d: path }),
        alone,
      ];
    }));
  },
  dots: (series, at, { y, band }) =>
    series.filter((one) => one.values[at] !== null && one.values[at] !== undefined)
      .map((one) => svg("circle", { class: `dot tone-${one.tone}`, cx: band.middle(at), cy: y(one.values[at]), r: 4 })),
};

/** Places that follow each other without a gap. */
function runs(values) {
  const found = [];
  values.forEach((value, at) => {
    if (value === null || value === undefined) return;
    if (found.length && found.at(-1).at(-1) === at - 1) found.at(-1).push(at);
    else found.push([at]);
  });
  return found;
}

/** A small line without axes. */
export function spark(values, tone = 0) {
  const known = values.map((value) => value ?? 0);
  const most = Math.max(...known, 1e-9);
  const width = 100;
  const x = (at) => (known.length > 1 ? (at / (known.length - 1)) * width : width / 2);
  const points = known.map((value, at) => `${x(at).toFixed(1)} ${(29 - (value / most) * 26).toFixed(1)}`).join("L");
  return svg(
    "svg",
    { class: "spark", viewBox: `0 0 ${width} 30`, preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("path", { class: `area tone-${tone}`, d: `M${points}L${width} 30L0 30Z` }),
    svg("path", { class: `line tone-${tone}`, d: `M${points}`, "vector-effect": "non-scaling-stroke" }),
  );
}
