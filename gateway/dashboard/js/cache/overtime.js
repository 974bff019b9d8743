// The cache over time.

import { chart } from "../charts/chart.js";
import { bars } from "../charts/marks.js";
import { bin, short, whole } from "../format.js";
import { card } from "../sheet.js";

const SIZES = { hour: 3600e3, day: 86400e3 };

/** Rows by day or hour. Those in which nothing was looked up have no row, but a place. */
export function overTime(rows, step) {
  const known = new Map(rows.map((row) => [timeOf(row.group[step]), row]));
  if (known.size < 2) return null;
  const times = [];
  for (let at = Math.min(...known.keys()); at <= Math.max(...known.keys()); at += SIZES[step]) times.push(at);
  const values = (name) => times.map((at) => known.get(at)?.[name] ?? 0);
  const series = [
    { name: "Hits", values: values("hits"), tone: 0 },
    { name: "Joined", values: values("coalesced"), tone: 3 },
    { name: "Misses", values: values("misses"), tone: "other" },
  ];
  const labels = times.map((ms) => ({ short: bin(ms, step, "UTC"), long: bin(ms, step, "UTC", true) }));
  return card("Lookups", { about: step === "day" ? "By day, UTC" : "By hour, UTC" }, chart({ title: "Lookups of the cache", kind: bars, labels, series, format: whole, axis: short }));
}

/** A day or an hour of UTC: 2026-11-19, or 2026-11-19T08:00 */
function timeOf(text) {
  const whole = /Z|[+-]\d\d:\d\d$/.test(text) ? text : text.length > 10 ? `${text}Z` : `${text}T00:00Z`;
  return Date.parse(whole.replace(" ", "T"));
}
