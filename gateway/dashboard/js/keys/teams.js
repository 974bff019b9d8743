// The table of teams.

import { remove, segment } from "../api.js";
import { link } from "../address.js";
import { formDialog } from "../dialog.js";
import { h } from "../dom.js";
import { check } from "../fields.js";
import { day, whole } from "../format.js";
import { toast } from "../notices.js";
import { badge } from "../sheet.js";
import { empty } from "../states.js";
import { opener, table } from "../table.js";
import { budgetBar } from "./budgets.js";
import { editTeam } from "./teamform.js";

export function teamTable(data, again) {
  if (!data.teams.length) return h("div", { class: "card" }, empty("No teams", "A team is made with its first key, or here."));
  const edit = (team) => editTeam({ team, done: again });
  const columns = [
    { title: "Team", cell: (team) => opener(team.name, () => edit(team)) },
    { title: "Keys", number: true, cell: (team) => h("a", { href: link("keys", { q: team.name }) }, whole(team.keys)) },
    { title: "Settings", cell: (team) => settings(team.settings) },
    { title: "Budget", cell: (team) => budgets(team, data.budgets) },
    { title: "Since", cell: (team) => day(team.created_at_ms) },
    { title: "What can be done", unseen: true, cell: (team) => h("div", { class: "row-tools" }, h("a", { class: "button small", href: link("overview", { team: team.name, by: "key" }) }, "Spend"), h("button", { type: "button", class: "button small danger", onclick: () => drop(team, again) }, "Delete")) },
  ];
  return h("div", { class: "card" }, table("Teams", columns, data.teams, { open: edit }));
}

function settings(said) {
  const known = Object.entries(said);
  if (!known.length) return h("span", { class: "faint" }, "none");
  return h("span", { class: "badges" }, known.map(([name, value]) => badge(`${name} ${value}`)));
}

function budgets(team, all) {
  const own = all.filter((budget) => budget.scope === "team" && budget.scope_value === team.name);
  return own.length ? own.map(budgetBar) : h("span", { class: "faint" }, "none");
}

function drop(team, again) {
  const revoke = check("Revoke its keys", { name: "revoke_keys" });
  formDialog({
    title: `Delete ${team.name}?`,
    about: "What was kept for it, in the cache and under idempotency keys, becomes unreadable. The ledger keeps its calls.",
    fields: [revoke.element],
    action: "Delete",
    danger: true,
    async send() {
      await remove(`/teams/${segment(team.name)}`, { revoke_keys: revoke.value() });
      toast(`${team.name} is deleted`);
      again();
    },
  });
}
