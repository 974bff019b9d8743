// Audit: who changed what, and how was it before?

import { get } from "../api.js";
import { changed, go, params } from "../address.js";
import { h, icon } from "../dom.js";
import { fullTime, moment } from "../format.js";
import { toast } from "../notices.js";
import { badge, sheet } from "../sheet.js";
import { empty } from "../states.js";
import { row, table } from "../table.js";

const PAGE = 50;

export async function show(main, signal) {
  const query = { object: params().object, action: params().action, limit: PAGE };
  const field = (name, title) => {
    const input = h("input", { class: "input", type: "search", "aria-label": title, placeholder: title, value: query[name] ?? "", "data-focus": name, onchange: () => go(changed({ [name]: input.value.trim() })) });
    return h("div", { class: "search" }, icon("search"), input);
  };
  const tools = [field("object", "Object: an id or a name"), field("action", "Action, such as key.create")];
  await sheet(main, signal, { title: "Audit", tools }, () => get("/audit", query, signal), (page) => draw(page, query, signal));
}

const COLUMNS = [
  { title: "Time", cell: (one) => h("time", { title: fullTime(one.at_ms), class: "nowrap" }, moment(one.at_ms)) },
  { title: "What", cell: (one) => h("a", { class: "main", href: changed({ action: one.action }) }, one.action) },
  { title: "Object", cell: (one) => h("a", { href: changed({ object: one.object }) }, one.object) },
  { title: "By way of", cell: (one) => badge(one.via, one.via === "dashboard" ? "accent" : "") },
  { title: "Change", cell: difference },
];

function draw(page, query, signal) {
  if (!page.data.length) return h("div", { class: "card" }, empty("No such changes", "Every change to keys, budgets, prices and the like leaves a row here."));
  const list = table("Changes", COLUMNS, page.data);
  let after = page.next;
  const foot = h("div", { class: "table-foot", hidden: !after }, h("button", { type: "button", class: "button", onclick: more }, "Show older changes"));
  return h("div", { class: "card" }, list, foot);

  async function more() {
    try {
      const older = await get("/audit", { ...query, after }, signal);
      list.querySelector("tbody").append(...older.data.map((one) => row(COLUMNS, one)));
      after = older.next;
      foot.hidden = !after;
    } catch (error) {
      if (error.name !== "AbortError") toast(error.message, true);
    }
  }
}

/** Field by field: what it was, and what it is. */
function difference({ before, after }) {
  const names = [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])];
  if (!names.length) return h("span", { class: "faint" }, "nothing to show");
  const lines = names.map((name) => h("div", { class: "diff" }, h("span", { class: "muted" }, `${name}: `), before && name in before && h("del", {}, shown(before[name])), after && name in after && h("ins", {}, shown(after[name]))));
  if (lines.length <= 3) return lines;
  return h("details", {}, h("summary", {}, `${lines.length} fields`), lines);
}

const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value));
