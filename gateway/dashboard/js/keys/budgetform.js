// The form of a budget.

import { put as putTo } from "../api.js";
import { formDialog } from "../dialog.js";
import { h } from "../dom.js";
import { check, number, select, text } from "../fields.js";
import { toast } from "../notices.js";

const SCOPES = [["team", "Team"], ["key", "Key"], ["model", "Model"], ["tag", "Tag"]];
const PERIODS = [["day", "Day"], ["week", "Week"], ["month", "Month"], ["total", "In total"]];

/** Scope and period say which budget it is: of one that is there they cannot be changed. */
export function editBudget({ budget = null, known, done }) {
  const scope = select("For a", SCOPES, { name: "scope", value: budget?.scope ?? "team", onchange: suggest });
  const value = text("Which", { name: "scope_value", value: budget?.scope_value ?? "", required: true, options: [] });
  const period = select("In a", PERIODS, { name: "period", value: budget?.period ?? "month" });
  const limit = number("Limit, dollars", { name: "limit_nano_usd", step: "any", required: true, value: budget ? budget.limit_nano_usd / 1e9 : "" });
  const zone = text("Time zone", { name: "zone", value: budget?.zone ?? "UTC", hint: "Where its days begin." });
  const hard = check("Refuse calls beyond it", { name: "hard", value: budget?.hard ?? true });
  for (const field of [scope, value, period]) field.control.disabled = budget !== null;
  suggest();
  formDialog({
    title: budget ? "Change the budget" : "New budget",
    about: "It counts what the ledger already has of the current period.",
    fields: [h("div", { class: "fields" }, [scope, value, period, limit, zone].map((field) => field.element), h("div", { class: "field" }, h("span", { class: "label" }, "Hard"), hard.element))],
    action: "Save",
    async send() {
      await putTo("/budgets", { scope: scope.value(), scope_value: value.value(), period: period.value(), zone: zone.value() || "UTC", limit_nano_usd: Math.round(limit.value() * 1e9), hard: hard.value() });
      toast("The budget is set");
      done();
    },
  });

  function suggest() {
    const options = { team: known.teams.map((team) => [team.name]), key: known.keys.filter((key) => key.state === "active").map((key) => [key.id, key.name]) }[scope.value()] ?? [];
    value.control.list.replaceChildren(...options.map(([id, label]) => h("option", { value: id, label })));
  }
}
