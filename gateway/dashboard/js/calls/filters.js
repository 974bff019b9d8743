// The filters of calls: kept in the address, so that a link shows the same calls.

import { all, get } from "../api.js";
import { changed, go, params } from "../address.js";
import { h } from "../dom.js";
import { PERIODS, periodQuery } from "./periods.js";

const TEXTS = [["model", "Model"], ["key", "Key id"], ["team", "Team"], ["target", "Target"], ["error", "Error"], ["tag", "Tag"]];
const CACHE = [["", "Any cache"], ["hit", "Hit"], ["coalesced", "Joined"], ["miss", "Miss"], ["bypass", "Bypassed"]];
const STATUS = [["", "Any result"], ["failed", "Failed"], ["200", "200"], ["429", "429"], ["499", "499"], ["503", "503"], ["504", "504"]];

/** What the API is asked with. */
export function filtersOf(given) {
  const found = Object.fromEntries(TEXTS.map(([name]) => [name, given[name]]));
  const failed = given.status === "failed";
  return { ...found, status: failed ? null : given.status, failed: failed ? true : null, cache: given.cache };
}

/** A filter is used when its field is left, or Enter is pressed. */
export function filterBar() {
  const given = params();
  const anything = [...TEXTS.map(([name]) => name), "status", "cache", "period", "since"].some((name) => given[name]);
  return h(
    "form",
    { class: "filters", role: "search", "aria-label": "Filter calls", onsubmit: (event) => event.preventDefault() },
    select("period", "Period", PERIODS, periodQuery(given), (value) => ({ period: value, since: null, until: null })),
    TEXTS.map(([name, title]) => text(name, title, given[name])),
    select("status", "Result", STATUS, given.status, (value) => ({ status: value })),
    select("cache", "Cache", CACHE, given.cache, (value) => ({ cache: value })),
    anything && h("button", { type: "button", class: "button quiet", onclick: clear }, "Clear"),
  );
}

function clear() {
  const names = [...TEXTS.map(([name]) => name), "status", "cache", "period", "since", "until"];
  go(changed(Object.fromEntries(names.map((name) => [name, null]))));
}

function text(name, title, value) {
  const list = name === "key" || name === "team" ? h("datalist", { id: `known-${name}` }) : null;
  const input = h("input", {
    class: "input", type: "search", placeholder: title, "aria-label": title, value: value ?? "", name, autocomplete: "off",
    list: list?.id, "data-focus": `filter-${name}`,
    onchange: () => go(changed({ [name]: input.value.trim() })),
    onfocus: () => list && suggest(name, list),
  });
  return h("div", {}, input, list);
}

function select(name, title, options, value, change) {
  const chosen = h(
    "select",
    { class: "input", "aria-label": title, name, "data-focus": `filter-${name}`, onchange: () => go(changed(change(chosen.value))) },
    options.map(([id, label]) => h("option", { value: id, selected: id === (value ?? "") }, label)),
  );
  return h("div", {}, chosen);
}

/** Keys are filtered by their ids; their names are what people know. */
async function suggest(name, list) {
  if (list.hasChildNodes()) return;
  const asked = name === "key" ? all("/keys") : get("/teams").then((found) => found.data);
  const rows = await asked.catch(() => []);
  list.replaceChildren(...rows.map((found) => h("option", { value: found.id ?? found.name, label: found.name })));
}
