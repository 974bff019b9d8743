// The charts of the overview.

import { chart } from "../charts/chart.js";
import { bars, lines } from "../charts/marks.js";
import { note, params } from "../address.js";
import { h, put } from "../dom.js";
import { axisMoney, bin, duration, money, short, whole } from "../format.js";
import { card } from "../sheet.js";

const MEASURES = {
  cost_nano_usd: { title: "Spend", format: money, axis: axisMoney },
  calls: { title: "Calls", format: whole, axis: short },
  tokens: { title: "Tokens", format: whole, axis: short },
};

/** Spend, calls or tokens by group: the first thing to look at. */
export function mainChart({ series }, zone) {
  const place = h("div", {});
  const buttons = Object.entries(MEASURES).map(([name, { title }]) =>
    h("button", { type: "button", "data-measure": name, onclick: () => choose(name) }, title));
  const heading = (name) => `${MEASURES[name].title} by ${series.by}`;
  const tools = h("div", { class: "segments", role: "group", "aria-label": "Measure" }, buttons);
  const box = card(heading("cost_nano_usd"), { tools }, place);
  draw(params().show in MEASURES ? params().show : "cost_nano_usd");
  return box;

  function choose(name) {
    note({ show: name === "cost_nano_usd" ? null : name });
    draw(name);
  }

  function draw(name) {
    const { format, axis } = MEASURES[name];
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.measure === name));
    put(box.querySelector("h2"), heading(name));
    const groups = series.groups.map((group, at) => ({ name: group.name, values: group[name], tone: group.other ? "other" : at }));
    put(place, chart({ title: heading(name), kind: bars, labels: labels(series, zone), series: groups, format, axis, height: 290 }));
  }
}

/** How it went. */
export function sideCharts({ series }, zone) {
  const at = labels(series, zone);
  const good = series.calls.map((count, n) => Math.max(0, count - series.errors[n] - series.cache_hits[n]));
  const outcomes = [
    { name: "Answered", values: good, tone: 0 },
    { name: "From the cache", values: series.cache_hits, tone: 3 },
    { name: "Failed", values: series.errors, tone: 4 },
  ];
  const times = [
    { name: "Median", values: series.p50_ms, tone: 0 },
    { name: "p95", values: series.p95_ms, tone: 1 },
    { name: "First token, median", values: series.first_event_p50_ms, tone: 2, dashed: true },
  ];
  return [
    card("Calls and errors", {}, chart({ title: "Calls and errors", kind: bars, labels: at, series: outcomes, format: whole, axis: short })),
    card("Latency", {}, chart({ title: "Latency", kind: lines, labels: at, series: times, format: duration, sums: false })),
  ];
}

function labels({ times_ms: times, step }, zone) {
  return times.map((ms) => ({ short: bin(ms, step, zone), long: bin(ms, step, zone, true) }));
}

