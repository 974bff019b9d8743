// Budgets: what is spent, what is held by calls under way, and what is left?

import { remove } from "../api.js";
import { confirm } from "../dialog.js";
import { h, svg } from "../dom.js";
import { ago, day, money, percent } from "../format.js";
import { toast } from "../notices.js";
import { badge } from "../sheet.js";
import { empty } from "../states.js";
import { named, opener, table } from "../table.js";
import { editBudget } from "./budgetform.js";

const NEAR = 0.8;
const PERIODS = { day: "a day", week: "a week", month: "a month", total: "in total" };

/** A bar: spent, held, left; and the same in words. */
export function budgetBar(budget) {
  const { limit_nano_usd: limit, spent_nano_usd: spent, reserved_nano_usd: held } = budget;
  const share = limit ? spent / limit : 1;
  const part = (amount) => (limit ? Math.min(100, Math.max(0, (100 * amount) / limit)) : 100);
  const tone = share >= 1 ? "bad" : share >= NEAR ? "warn" : "";
  const left = Math.max(0, limit - spent - held);
  const words = `${money(spent)} of ${money(limit)} spent, ${money(held)} held, ${money(left)} left`;
  return h(
    "div",
    { class: "budget" },
    svg(
      "svg",
      { class: "bar", role: "img", "aria-label": words },
      svg("rect", { class: "track", width: "100%", height: 6 }),
      svg("rect", { class: "reserved", x: `${part(spent)}%`, width: `${Math.min(100 - part(spent), part(held))}%`, height: 6 }),
      svg("rect", { class: `spent ${tone}`, width: `${part(spent)}%`, height: 6 }),
    ),
    h("div", { class: "budget-line" }, h("span", {}, `${money(spent)} of ${money(limit)} ${PERIODS[budget.period]}`), h("span", {}, held > 0 && `${money(held)} held · `, share > 1 ? `${money(spent - limit)} over` : `${money(left)} left`)),
  );
}

export function budgetTable(data, again) {
  const { budgets, keys } = data;
  if (!budgets.length) return h("div", { class: "card" }, empty("No budgets", "A budget limits what a key, a team, a model or a tag may cost."));
  const names = new Map(keys.map((key) => [key.id, key.name]));
  const title = (budget) => (budget.scope === "key" ? names.get(budget.scope_value) ?? budget.scope_value : budget.scope_value);
  const edit = (budget) => editBudget({ budget, known: data, done: again });
  const columns = [
    { title: "Budget", cell: (budget) => [opener(title(budget), () => edit(budget)), h("span", { class: "sub" }, budget.scope)] },
    { title: "Kind", cell: (budget) => badge(budget.hard ? "hard" : "soft", budget.hard ? "accent" : "") },
    { title: "Spent", cell: budgetBar },
    { title: "Used", number: true, cell: (budget) => percent(budget.limit_nano_usd ? budget.spent_nano_usd / budget.limit_nano_usd : 1, 0) },
    { title: "Begins anew", cell: (budget) => (budget.period_end_ms === null ? "never" : named(ago(budget.period_end_ms), `${day(budget.period_end_ms, budget.zone)}, ${budget.zone}`)) },
    { title: "What can be done", unseen: true, cell: (budget) => h("div", { class: "row-tools" }, h("button", { type: "button", class: "button small danger", onclick: () => drop(budget, title(budget), again) }, "Remove")) },
  ];
  return h("div", { class: "card" }, table("Budgets", columns, budgets, { open: edit }));
}

function drop(budget, title, again) {
  confirm({
    title: `Remove the budget of ${title}?`,
    text: "What it has counted is gone with it. A new one counts the ledger anew.",
    action: "Remove",
    async send() {
      await remove(`/budgets/${budget.id}`);
      toast("The budget is removed");
      again();
    },
  });
}
