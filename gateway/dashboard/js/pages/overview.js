// Overview: what does it cost, who spends it, what does it save, what is broken?

import { get } from "../api.js";
import { changed, go, params } from "../address.js";
import { h } from "../dom.js";
import { asked, choice, period, periodPicker } from "../period.js";
import { sheet } from "../sheet.js";
import { empty } from "../states.js";
import { link } from "../address.js";
import { mainChart, sideCharts } from "../overview/charts.js";
import { tiles } from "../overview/tiles.js";
import { spenders } from "../overview/spenders.js";

const BY = [["model", "Model"], ["team", "Team"], ["key", "Key"], ["provider", "Provider"]];
const FILTERS = ["model", "team", "key"];

export async function show(main, signal) {
  const given = params();
  const span = period();
  const by = given.by ?? "model";
  const filters = Object.fromEntries(FILTERS.map((name) => [name, given[name]]));
  const head = { title: "Overview", tools: [chips(filters), choice("Group by", "by", BY, "model"), periodPicker()] };
  const query = { ...asked(span), ...filters, by, step: span.step };
  await sheet(main, signal, head, () => get("/overview", query, signal), (data) => draw(data, span.zone));
}

/** What the page is narrowed to, each with a button that widens it again. */
function chips(filters) {
  return FILTERS.filter((name) => filters[name]).map((name) =>
    h("span", { class: "chip" }, `${name}: ${filters[name]}`, h("button", { type: "button", "aria-label": `Remove the filter ${name}`, onclick: () => go(changed({ [name]: null })) }, "×")));
}

function draw(data, zone) {
  if (!data.totals.calls && !data.previous.calls) {
    return h("div", { class: "card" }, empty(
      "No calls in this period",
      "Choose a longer period, or make a call: the playground needs no client.",
      h("a", { class: "button primary", href: link("playground") }, "Open the playground"),
    ));
  }
  return [
    tiles(data),
    mainChart(data, zone),
    h("div", { class: "columns" }, sideCharts(data, zone)),
    h("div", { class: "columns" }, spenders(data)),
  ];
}
