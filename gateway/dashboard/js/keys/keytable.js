// The table of keys, with what can be done to each.

import { post } from "../api.js";
import { link, note, params } from "../address.js";
import { confirm } from "../dialog.js";
import { h, icon } from "../dom.js";
import { ago, day, fullTime } from "../format.js";
import { toast } from "../notices.js";
import { badge } from "../sheet.js";
import { empty } from "../states.js";
import { named, opener, table } from "../table.js";
import { budgetBar } from "./budgets.js";
import { editKey, rotateKey } from "./keyforms.js";

const TONES = { active: "good", expired: "warn", revoked: "" };

export function keyTable(data, again) {
  const search = h("input", { class: "input", type: "search", placeholder: "Search keys", "aria-label": "Search keys", value: params().q ?? "", oninput: narrow });
  const states = h("select", { class: "input narrow", "aria-label": "State", onchange: narrow }, [["", "All states"], ["active", "Active"], ["expired", "Expired"], ["revoked", "Revoked"]].map(([id, title]) => h("option", { value: id, selected: id === (params().state ?? "") }, title)));
  const list = table("Keys", columns(data, again), data.keys, { open: (key) => editKey({ key, known: data, done: again }), rowId: (key) => key.id });
  const none = h("div", { hidden: true }, empty("No such keys", "Nothing fits this search."));
  narrow();
  if (!data.keys.length) return h("div", { class: "card" }, empty("No keys yet", "A key lets a person or a program make calls."));
  return [h("div", { class: "page-tools" }, h("div", { class: "search" }, icon("search"), search), states), h("div", { class: "card" }, list, none)];

  function narrow() {
    const wanted = search.value.trim().toLowerCase();
    let shown = 0;
    data.keys.forEach((key, at) => {
      const text = [key.name, key.id, key.team, key.prefix, ...key.models, ...key.tags].join(" ").toLowerCase();
      const fits = text.includes(wanted) && (!states.value || key.state === states.value);
      list.querySelectorAll("tbody tr")[at].hidden = !fits;
      shown += fits;
    });
    none.hidden = shown > 0;
    if ((params().q ?? "") !== search.value || (params().state ?? "") !== states.value) note({ q: search.value, state: states.value });
  }
}

function columns(data, again) {
  const edit = (key) => editKey({ key, known: data, done: again });
  return [
    { title: "Key", cell: (key) => [opener(key.name, () => edit(key)), h("span", { class: "sub mono" }, `${key.prefix}…`)] },
    { title: "Team", cell: (key) => key.team ?? h("span", { class: "faint" }, "none") },
    { title: "Models", cell: (key) => models(key.models) },
    { title: "State", cell: (key) => named(badge(key.state, TONES[key.state], true), key.expires_at_ms && key.state === "active" ? `until ${day(key.expires_at_ms)}` : null) },
    { title: "Limits and budget", cell: (key) => limits(key, data.budgets) },
    { title: "Last used", cell: (key) => h("a", { href: link("calls", { key: key.id }), title: fullTime(key.last_used_ms), class: "nowrap" }, ago(key.last_used_ms)) },
    { title: "What can be done", unseen: true, cell: (key) => key.state === "revoked" ? null : tools(key, again) },
  ];
}

function models(patterns) {
  if (patterns.length === 1 && patterns[0] === "*") return h("span", { class: "faint" }, "all");
  return h("span", { class: "badges" }, patterns.slice(0, 3).map((pattern) => badge(pattern)), patterns.length > 3 && badge(`+${patterns.length - 3}`));
}

function limits({ id, settings }, budgets) {
  const said = [["rpm", "a minute"], ["tpm", "tokens a minute"], ["concurrent", "at once"]].filter(([name]) => settings[name]).map(([name, text]) => badge(`${settings[name].toLocaleString()} ${text}`));
  const own = budgets.filter((budget) => budget.scope === "key" && budget.scope_value === id);
  if (!said.length && !own.length) return h("span", { class: "faint" }, "none of its own");
  return [said.length > 0 && h("span", { class: "badges" }, said), own.map((budget) => budgetBar(budget))];
}

function tools(key, again) {
  return h(
    "div",
    { class: "row-tools" },
    h("button", { type: "button", class: "button small", onclick: () => rotateKey({ key, done: again }) }, "Rotate"),
    h("button", { type: "button", class: "button small danger", onclick: () => revoke(key, again) }, "Revoke"),
  );
}

function revoke(key, again) {
  confirm({
    title: `Revoke ${key.name}?`,
    text: "Calls with this key are refused within a second, for good. Nothing brings it back.",
    action: "Revoke",
    async send() {
      await post(`/keys/${key.id}/revoke`);
      toast(`${key.name} is revoked`);
      again();
    },
  });
}

