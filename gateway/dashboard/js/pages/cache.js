// Cache: how often did it answer, what did that save, and for whom?

import { all, get, post } from "../api.js";
import { params } from "../address.js";
import { formDialog } from "../dialog.js";
import { h, svg } from "../dom.js";
import { select, text } from "../fields.js";
import { money, percent, short, whole } from "../format.js";
import { toast } from "../notices.js";
import { overTime } from "../cache/overtime.js";
import { asked, choice, period, periodPicker } from "../period.js";
import { badge, card, sheet, tile } from "../sheet.js";
import { empty } from "../states.js";
import { named, table } from "../table.js";

const BY = [["model", "Model"], ["team", "Team"], ["key", "Key"]];
const STORES = { off: "Off", memory: "In memory", disk: "On disk", redis: "In Redis" };

export async function show(main, signal) {
  const by = params().by ?? "model";
  const span = period();
  const step = span.step === "hour" ? "hour" : "day";
  const clear = h("button", { type: "button", class: "button danger", onclick: () => clearCache(() => show(main, signal)) }, "Clear");
  const tools = [choice("Group by", "by", BY, "model"), periodPicker(), clear];
  await sheet(main, signal, { title: "Cache", tools }, load, ([found, times, keys]) => [draw(found, new Map(keys.map((key) => [key.id, key.name])), by, overTime(times.data, step))]);

  function load() {
    const query = asked(span);
    const keys = by === "key" ? all("/keys", {}, signal) : [];
    return Promise.all([get("/cache", { ...query, by }, signal), get("/cache", { ...query, by: step }, signal), keys]);
  }
}

function draw({ store, encrypted, totals, data }, names, by, chart) {
  const asks = totals.hits + totals.coalesced + totals.misses;
  const rows = [...data].sort((a, b) => b.hits + b.coalesced - a.hits - a.coalesced);
  const name = (row) => names.get(row.group[by]) ?? (row.group[by] || "none");
  const columns = [
    { title: BY.find(([id]) => id === by)[1], cell: (row) => h("span", { class: "main" }, name(row)) },
    { title: "Hit rate", cell: (row) => rate(row) },
    { title: "Hits", number: true, cell: (row) => named(whole(row.hits), row.coalesced ? `${whole(row.coalesced)} joined` : null) },
    { title: "Misses", number: true, cell: (row) => whole(row.misses) },
    { title: "Bypassed", number: true, cell: (row) => whole(row.bypasses) },
    { title: "Tokens saved", number: true, cell: (row) => short(row.saved_tokens) },
    { title: "Saved", number: true, cell: (row) => money(row.saved_nano_usd) },
  ];
  const off = store === "off" && h("p", { class: "note" }, "The cache is off. ", h("code", {}, "[cache] store"), " in config.toml turns it on; aliases, keys and calls say who uses it.");
  return [
    off,
    h(
      "div",
      { class: "tiles" },
      tile("Hit rate", percent(totals.hit_rate), [`${whole(asks)} lookups`]),
      tile("Saved", money(totals.saved_nano_usd), [`${short(totals.saved_tokens)} tokens`]),
      tile("Answered", whole(totals.hits + totals.coalesced), [`${whole(totals.coalesced)} by joining a call under way`]),
      tile("Store", STORES[store], [encrypted ? badge("encrypted", "good") : store !== "off" && badge("not encrypted"), totals.unreadable > 0 && badge(`${whole(totals.unreadable)} unreadable`, "warn")]),
    ),
    chart,
    card(`By ${by}`, { flush: true }, rows.length ? table(`Cache by ${by}`, columns, rows) : empty("Nothing was looked up", "No call of this period used the cache.")),
  ];
}

function rate(row) {
  const share = row.hit_rate ?? 0;
  return h("div", { class: "rate" }, h("span", {}, percent(row.hit_rate, 0)), svg("svg", { class: "share", "aria-hidden": "true" }, svg("rect", { class: "track", width: "100%", height: 4, rx: 2 }), svg("rect", { class: "part", width: `${100 * share}%`, height: 4, rx: 2 })));
}

function clearCache(done) {
  const scope = select("What", [["", "All of it"], ["team", "Of a team"], ["key", "Of a key, by its id"], ["model", "Of a model"], ["namespace", "Of a namespace"]], { name: "scope", onchange: () => { value.element.hidden = scope.value() === ""; } });
  const value = text("Which", { name: "value" });
  value.element.hidden = true;
  formDialog({
    title: "Clear the cache",
    about: "What is kept is never answered again, in all processes within a second.",
    fields: [scope.element, value.element],
    action: "Clear",
    danger: true,
    async send() {
      await post("/cache/clear", scope.value() ? { [scope.value()]: value.value() } : {});
      toast("The cache is cleared");
      done();
    },
  });
}
