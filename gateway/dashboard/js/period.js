// The period: which time does a page show? Chosen by the reader, kept in the address.

import { changed, go, params } from "./address.js";
import { h } from "./dom.js";

const HOUR_MS = 3600e3;
const DAY_MS = 24 * HOUR_MS;
const PRESETS = [["24h", "24 h"], ["7d", "7 days"], ["30d", "30 days"], ["90d", "90 days"]];

export const zone = () => params().zone || Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

/** What the API is asked with: whole hours or days, so that a chart begins with a whole bar. */
export function period(usual = "7d") {
  const given = params();
  const name = given.since ? "custom" : given.period ?? usual;
  if (name === "custom") return { name, since: given.since, until: given.until && after(given.until), zone: zone() };
  if (name === "24h") return { name, since: Math.floor(Date.now() / HOUR_MS) * HOUR_MS - 23 * HOUR_MS, zone: zone(), step: "hour" };
  const days = Number.parseInt(name, 10) || 7;
  return { name, since: daysBefore(today(), days - 1), zone: zone(), step: days <= 2 ? "hour" : "day" };
}

/** The part of a period that every report understands. */
export const asked = ({ since, until, zone: at }) => ({ since, until, zone: at });

/** Today's date where the reader is: 2026-11-22 */
export function today() {
  return new Intl.DateTimeFormat("en-CA", { timeZone: zone(), year: "numeric", month: "2-digit", day: "2-digit" }).format();
}

function daysBefore(date, days) {
  return new Date(Date.parse(`${date}T00:00:00Z`) - days * DAY_MS).toISOString().slice(0, 10);
}

const after = (date) => daysBefore(date, -1);

/** The buttons, and two dates for any other period. */
export function periodPicker(usual = "7d") {
  const { name } = period(usual);
  const given = params();
  const button = (id, title) => h("button", { type: "button", "aria-pressed": String(id === name), onclick: () => choose(id) }, title);
  const since = date("From", given.since ?? daysBefore(today(), 6));
  const until = date("To", given.until ?? today());

  function choose(id) {
    if (id === "custom") go(changed({ period: null, since: since.value, until: until.value }));
    else go(changed({ period: id === usual ? null : id, since: null, until: null }));
  }

  function date(label, value) {
    return h("input", { class: "input narrow", type: "date", "aria-label": label, value, max: today(), onchange: () => dated() });
  }

  function dated() {
    if (since.value && until.value && since.value <= until.value) choose("custom");
  }

  const presets = h("div", { class: "segments", role: "group", "aria-label": "Period" }, [...PRESETS, ["custom", "Custom"]].map(([id, title]) => button(id, title)));
  return [presets, name === "custom" && h("div", { class: "dates" }, since, h("span", { class: "muted" }, "to"), until)];
}

/** One of a few, as buttons beside each other; kept in the address under `name`. */
export function choice(label, name, options, usual) {
  const chosen = params()[name] ?? usual;
  const button = ([id, title]) =>
    h("button", { type: "button", "aria-pressed": String(id === chosen), onclick: () => go(changed({ [name]: id === usual ? null : id })) }, title);
  return h("div", { class: "segments", role: "group", "aria-label": label }, options.map(button));
}
