// Status: which processes are there, can they work, and with which configuration?

import { get, post } from "../api.js";
import { h, put } from "../dom.js";
import { ago, bytes, duration, fullTime, whole } from "../format.js";
import { toast } from "../notices.js";
import { badge, card, sheet, tile } from "../sheet.js";
import { table } from "../table.js";

export async function show(main, signal) {
  const load = () => Promise.all([get("/status", {}, signal), get("/config", {}, signal)]);
  await sheet(main, signal, { title: "Status" }, load, ([status, config]) => draw(status, config, () => show(main, signal)));
}

function draw(status, { config, restart_tables: restart }, again) {
  const now = Date.now();
  const columns = [
    { title: "Process", cell: (one) => [h("span", { class: "main mono" }, one.id), one.id === status.process && h("span", { class: "sub" }, "answers this page")] },
    { title: "Host", cell: (one) => one.host },
    { title: "Pid", number: true, cell: (one) => String(one.pid) },
    { title: "Started", cell: (one) => h("time", { title: fullTime(one.started_at_ms) }, ago(one.started_at_ms)) },
    { title: "State", cell: (one) => (one.lease_until_ms > now ? badge("alive", "good", true) : badge("gone", "", true)) },
  ];
  const { database, redis } = status;
  return [
    h(
      "div",
      { class: "tiles" },
      tile("Gateway", status.version, [status.draining ? badge("draining", "warn", true) : badge("serving", "good", true), `up ${duration(status.uptime_s * 1000)}`]),
      tile("Calls under way", whole(status.in_flight), [`${status.workers} worker${status.workers === 1 ? "" : "s"}`]),
      tile("Database", bytes(database.size_bytes), [database.ok ? badge("writes", "good", true) : badge("does not write", "bad", true)]),
      tile("Redis", redis.configured ? (redis.available ? "In use" : "Away") : "None", [redis.configured ? badge(redis.available ? "answers" : "does not answer", redis.available ? "good" : "bad", true) : "not configured"]),
    ),
    card("Processes", { flush: true }, table("Processes", columns, status.processes)),
    configuration(config, restart, again),
  ];
}

function configuration(config, restart, again) {
  const said = h("div", { "aria-live": "polite" });
  const button = h("button", { type: "button", class: "button small", onclick: reload }, "Reload config.toml");
  const tables = Object.entries(config).map(([name, value]) =>
    h("details", {}, h("summary", {}, h("code", {}, name), restart.includes(name) && [" ", badge("needs a restart")]), h("pre", { class: "block", tabindex: "0" }, JSON.stringify(value, null, 2))));
  return card("Configuration", { tools: button, about: "In force now. What may be a secret is left out." }, said, h("div", { class: "tables" }, tables));

  async function reload() {
    button.disabled = true;
    try {
      const { changed, needs_restart: waiting } = await post("/config/reload");
      const text = [changed.length ? `Changed: ${changed.join(", ")}.` : "Nothing has changed.", waiting.length ? `Waiting for a restart: ${waiting.join(", ")}.` : ""].join(" ");
      toast(text);
      again();
    } catch (error) {
      put(said, h("p", { class: "note bad preformatted" }, error.message));
    }
    button.disabled = false;
  }
}
