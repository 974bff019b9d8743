// Prices: what do models cost, and from which day on?

import { post, remove } from "../api.js";
import { perMillion } from "../calls/attempts.js";
import { formDialog } from "../dialog.js";
import { h, icon } from "../dom.js";
import { number, text } from "../fields.js";
import { fullTime, moment } from "../format.js";
import { toast } from "../notices.js";
import { badge, card } from "../sheet.js";
import { empty } from "../states.js";
import { named, table } from "../table.js";

const FIGURES = [
  ["input_cost_per_token", "Prompt"],
  ["output_cost_per_token", "Completion"],
  ["cache_read_input_token_cost", "Cached prompt"],
  ["cache_creation_input_token_cost", "Written to the cache"],
];
const TITLES = new Map(FIGURES);
const MILLION = 1e6;

export function priceTab(prices, providers, again) {
  const tools = h("button", { type: "button", class: "button", onclick: () => add(prices, providers, again) }, icon("plus"), "Price");
  const about = "Of one's own. What nobody set comes from litellm's table.";
  const columns = [
    { title: "Model", cell: (one) => named(one.model, one.source === "config" ? "config.toml" : null) },
    { title: "Per million tokens", cell: (one) => Object.entries(one.figures).map(([name, value]) => h("div", {}, `${TITLES.get(name) ?? name.replaceAll("_", " ")}: ${perMillion(name, value).replace(" per million", "")}`)) },
    { title: "From", cell: (one) => (one.effective_from_ms === null ? h("span", { class: "faint" }, "always") : h("time", { title: fullTime(one.effective_from_ms) }, moment(one.effective_from_ms))) },
    { title: "State", cell: (one) => (one.in_force ? badge("in force", "good", true) : isFuture(one) ? badge("to come", "accent", true) : badge("replaced")) },
    { title: "What can be done", unseen: true, cell: (one) => isFuture(one) && h("div", { class: "row-tools" }, h("button", { type: "button", class: "button small danger", onclick: () => drop(one, again) }, "Take back")) },
  ];
  return card("Prices", { tools, about, flush: true }, prices.data.length ? table("Prices", columns, prices.data) : empty("No prices of your own", "A price that you set goes before the one in litellm's table."));
}

const isFuture = (one) => one.effective_from_ms !== null && one.effective_from_ms > Date.now();

function add(prices, providers, again) {
  const known = providers.data.flatMap((provider) => provider.models.map((model) => `${provider.name}/${model}`));
  const model = text("Model", { name: "model", required: true, wide: true, placeholder: "provider/model", options: known });
  const figures = FIGURES.map(([name, title]) => [name, number(`${title}, dollars per million`, { name: `figures.${name}`, step: "any" })]);
  const from = text("From", { name: "effective_from_ms", type: "datetime-local", hint: "Empty: now. Never in the past." });
  formDialog({
    title: "New price",
    about: "With prompt and completion it replaces the whole price; with less it corrects single figures.",
    fields: [h("div", { class: "fields" }, model.element, figures.map(([, field]) => field.element), from.element)],
    action: "Set the price",
    async send() {
      const said = figures.filter(([, field]) => field.value() !== null).map(([name, field]) => [name, perToken(field.value())]);
      const at = from.value() ? new Date(from.value()).getTime() : null;
      await post("/prices", { model: model.value(), figures: Object.fromEntries(said), effective_from_ms: at });
      toast("The price is set");
      again();
    },
  });
}

/** By decimals: 2.19 / 1e6 is 0.0000021899999999999998. */
const perToken = (dollars) => Number((dollars / MILLION).toPrecision(15));

async function drop(one, again) {
  try {
    await remove(`/prices/${one.id}`);
    toast("The price is taken back");
    again();
  } catch (error) {
    toast(error.message, true);
  }
}
