// Keys and teams: who may call, how much may they spend, and when were they last here?

import { all, get } from "../api.js";
import { link, params } from "../address.js";
import { h, icon } from "../dom.js";
import { budgetTable } from "../keys/budgets.js";
import { keyTable } from "../keys/keytable.js";
import { createKey } from "../keys/keyforms.js";
import { editBudget } from "../keys/budgetform.js";
import { teamTable } from "../keys/teams.js";
import { editTeam } from "../keys/teamform.js";
import { sheet } from "../sheet.js";

const TABS = [["keys", "Keys"], ["teams", "Teams"], ["budgets", "Budgets"]];
const NEW = { keys: ["New key", createKey], teams: ["New team", editTeam], budgets: ["New budget", editBudget] };

export async function show(main, signal) {
  const tab = params().tab in NEW ? params().tab : "keys";
  let known = { keys: [], teams: [], budgets: [] };
  const [title, make] = NEW[tab];
  const again = () => show(main, signal);
  const button = h("button", { type: "button", class: "button primary", onclick: () => make({ known, done: again }) }, icon("plus"), title);
  await sheet(main, signal, { title: "Keys & teams", tools: [button] }, load, draw);

  async function load() {
    const lists = [all("/keys", {}, signal), get("/teams", {}, signal), get("/budgets", {}, signal)];
    const [keys, teams, budgets] = await Promise.all(lists);
    return { keys, teams: teams.data, budgets: budgets.data };
  }

  function draw(data) {
    known = data;
    const tabs = TABS.map(([name, text]) => h("a", { href: link("keys", { tab: name === "keys" ? null : name }), "aria-current": name === tab && "true", "data-focus": `tab-${name}` }, `${text} `, h("span", { class: "faint" }, data[name].length)));
    const draws = { keys: keyTable, teams: teamTable, budgets: budgetTable };
    return [h("nav", { class: "tabs", "aria-label": "Keys, teams and budgets" }, tabs), draws[tab](data, again)];
  }
}
