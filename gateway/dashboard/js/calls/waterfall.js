// The waterfall: when was which attempt made, and when did its answer begin?

import { h, svg } from "../dom.js";
import { duration } from "../format.js";
import { ticks } from "../charts/scale.js";

const LINE = 30;

/** Attempts below each other on one line of time, which begins when the call was received. */
export function waterfall(call, attempts, trace) {
  const total = Math.max(call.duration_ms, 1, ...attempts.map((one) => one.opened_at_ms - call.received_at_ms + (one.duration_ms ?? 0)));
  const marks = ticks(total, 4).filter((mark) => mark <= total);
  const at = (ms) => `${Math.max(0, Math.min(100, (100 * ms) / total))}%`;
  const rows = [{ name: "Whole call", from: 0, took: call.duration_ms, first: null, tone: "other", said: null }, ...attempts.map((one) => ({
    name: one.target,
    from: Math.max(0, startOf(one, call, trace)),
    took: one.duration_ms ?? 0,
    first: one.first_event_ms,
    tone: one.error ? 4 : 0,
    said: one.error ?? (one.state === "settled" ? null : one.state),
  }))];
  const told = rows.map((row) => `${row.name}: from ${duration(row.from)}, ${duration(row.took)}${row.said ? `, ${row.said}` : ""}`);
  return h("div", { class: "waterfall", role: "img", "aria-label": told.join("; ") },
    h("div", { class: "waterfall-names" }, rows.map((row) => h("div", { title: row.name }, row.name))),
    svg("svg", { class: "waterfall-plot", width: "100%", height: rows.length * LINE + 22 },
      marks.map((mark) => [
        svg("line", { class: "grid", x1: at(mark), x2: at(mark), y1: 0, y2: rows.length * LINE }),
        svg("text", { class: "axis", x: at(mark), y: rows.length * LINE + 16, "text-anchor": mark === 0 ? "start" : mark > total * 0.9 ? "end" : "middle" }, duration(mark)),
      ]),
      rows.map((row, place) => bar(row, place, at)),
    ),
    h("div", { class: "waterfall-took" }, rows.map((row) => h("div", { class: row.said ? "bad" : "muted" }, row.said ? `${duration(row.took)} · ${row.said}` : duration(row.took)))),
  );
}

/** The trace knows the moment to the microsecond; the charge only to the millisecond. */
function startOf(attempt, call, trace) {
  const fact = trace.find((one) => one.fact === "attempt_started" && one.number === attempt.number);
  return fact ? fact.at_us / 1000 : attempt.opened_at_ms - call.received_at_ms;
}

function bar({ from, took, first, tone }, place, at) {
  const y = place * LINE + 8;
  const shape = { y, height: LINE - 16, rx: 3, "min-width": 2 };
  const known = first !== null && first < took;
  return [
    svg("rect", { ...shape, class: `mark tone-${tone} ${known ? "waiting" : ""}`, x: at(from), width: at(Math.max(took, 0.001)) }),
    known && svg("rect", { ...shape, class: `mark tone-${tone}`, x: at(from + first), width: at(took - first) }),
  ];
}
