// Targets: which of them work, which are benched, and until when?

import { post, segment } from "../api.js";
import { link } from "../address.js";
import { h } from "../dom.js";
import { ago, duration, money, percent, whole } from "../format.js";
import { toast } from "../notices.js";
import { badge } from "../sheet.js";
import { empty } from "../states.js";
import { named, table } from "../table.js";

const STATES = { closed: ["good", "works"], probing: ["warn", "probing"], benched: ["bad", "benched"] };

/** What this process sees of targets, beside what the ledger has of the last day. */
export function targetTable({ data, credentials, process }, usage, again) {
  const day = new Map(usage.data.map((row) => [row.group.target, row]));
  if (!data.length) return h("div", { class: "card" }, empty("No targets", "Targets are named in config.toml: by aliases, and by providers' models."));
  const columns = [
    { title: "Target", cell: (one) => [h("a", { class: "main", href: link("calls", { target: one.name }) }, one.name), one.aliases.length > 0 && h("span", { class: "sub" }, one.aliases.join(", "))] },
    { title: "State", cell: state },
    { title: "Under way", number: true, cell: (one) => whole(one.in_flight) },
    { title: "Latency", number: true, cell: (one) => (one.latency_ms === null ? h("span", { class: "faint" }, "unknown") : duration(one.latency_ms)) },
    { title: "Breaker", number: true, cell: (one) => (one.attempts ? named(`${whole(one.errors)} of ${whole(one.attempts)}`, "failed lately") : h("span", { class: "faint" }, "no attempts")) },
    { title: "Last 24 h", number: true, cell: (one) => lately(day.get(one.name)) },
    { title: "Spend, 24 h", number: true, cell: (one) => money(day.get(one.name)?.cost_nano_usd ?? 0) },
    { title: "What can be done", unseen: true, cell: (one) => one.on && h("div", { class: "row-tools" }, h("button", { type: "button", class: "button small", disabled: one.state === "closed" && !one.errors, onclick: () => reset(one, again) }, "Reset")) },
  ];
  return [
    h("p", { class: "muted" }, "Health is each process's own: this is what process ", h("code", {}, process), " sees."),
    h("div", { class: "card" }, table("Targets", columns, data)),
    credentials.length > 0 && refused(credentials),
  ];
}

function lately(row) {
  if (!row?.attempts) return h("span", { class: "faint" }, "no attempts");
  return named(`${whole(row.attempts)} attempts`, h("span", { class: row.errors ? "bad" : null }, row.errors ? `${percent(row.errors / row.attempts)} failed` : "none failed"));
}

function state(one) {
  if (!one.on) return badge("provider off");
  const [tone, text] = STATES[one.state];
  return named(badge(text, tone, true), one.benched_until_ms ? `tried again ${ago(one.benched_until_ms)}` : null);
}

function refused(credentials) {
  const columns = [
    { title: "Credential", cell: (one) => named(`${one.provider}, ${one.credential}`, one.model) },
    { title: "State", cell: (one) => badge(STATES[one.state][1], STATES[one.state][0], true) },
    { title: "Tried again", cell: (one) => ago(one.benched_until_ms) },
  ];
  return h("section", { class: "card", "aria-label": "Refused credentials" }, h("div", { class: "card-head" }, h("h2", {}, "Credentials that a provider refused")), h("div", { class: "card-body flush" }, table("Refused credentials", columns, credentials)));
}

async function reset(one, again) {
  try {
    await post(`/targets/${segment(one.name)}/reset`);
    toast(`${one.name} may be tried again`);
    again();
  } catch (error) {
    toast(error.message, true);
  }
}
