// One call: what happened in it, what did it cost, and by which price?

import { get } from "../api.js";
import { link } from "../address.js";
import { dialog } from "../dialog.js";
import { h, put } from "../dom.js";
import { duration, exactMoney, fullTime, money, short } from "../format.js";
import { copy } from "../notices.js";
import { badge, card, pairs, tile } from "../sheet.js";
import { empty, failed, loading } from "../states.js";
import { attemptCards } from "./attempts.js";
import { cacheBadge, statusBadge } from "./columns.js";
import { steps } from "./facts.js";
import { waterfall } from "./waterfall.js";

/** Open the panel of a call. `closed` is called when the reader is done with it. */
export function openCall(id, closed) {
  const panel = dialog({ title: "Call", body: loading(), panel: true, closed });
  fill();

  async function fill() {
    try {
      const found = await get(`/calls/${encodeURIComponent(id)}`);
      put(panel.place, callView(found, id));
    } catch (error) {
      put(panel.place, failed(error, fill));
    }
  }
}

/** The same as part of a page. */
export function callView({ call, attempts, trace }, id) {
  const idLine = h("div", { class: "call-id" }, h("code", {}, id), h("button", { type: "button", class: "button quiet small", onclick: () => copy(id, "Id") }, "Copy id"));
  if (call === null) return [idLine, h("p", { class: "note warn" }, "This call has not ended, or its row was lost in a crash. Its attempts are here."), attempts.length ? attemptCards(attempts) : empty("No attempts", null)];
  return [
    h("div", { class: "call-head" }, h("h3", {}, call.asked_model), h("span", { class: "badges" }, statusBadge(call), cacheBadge(call.cache), call.stream && badge("streamed"))),
    idLine,
    figures(call, attempts),
    card("Timeline", {}, waterfall(call, attempts, trace)),
    card("What happened", {}, steps(trace, call)),
    attemptCards(attempts),
    card("Caller", {}, caller(call)),
    h("details", {}, h("summary", {}, "All of it as JSON"), h("pre", { class: "block", tabindex: "0" }, JSON.stringify({ call, attempts, trace }, null, 2))),
  ];
}

function figures(call, attempts) {
  const costs = attempts.map((one) => one.cost_nano_usd);
  const cost = costs.some((one) => one === null) ? null : costs.reduce((sum, one) => sum + one, 0);
  const sum = (name) => attempts.reduce((total, { usage }) => total + (usage?.[name] ?? 0), 0);
  const tokens = sum("prompt_tokens") + sum("completion_tokens");
  return h(
    "div",
    { class: "tiles" },
    tile("Cost", h("span", { title: exactMoney(cost) }, cost === null ? "unknown" : money(cost)), [call.saved_nano_usd === null ? `${call.attempts} attempt${call.attempts === 1 ? "" : "s"}` : `${money(call.saved_nano_usd)} saved`]),
    tile("Tokens", short(tokens || call.saved_tokens || 0), [tokens ? `${short(sum("prompt_tokens"))} in, ${short(sum("completion_tokens"))} out` : call.saved_tokens ? "not asked for again" : null]),
    tile("Time taken", duration(call.duration_ms), [call.first_event_ms === null ? null : `first event ${duration(call.first_event_ms)}`]),
    tile("Overhead", duration(call.overhead_ms), ["the gateway's own"]),
  );
}

function caller(call) {
  return pairs([
    ["Received", fullTime(call.received_at_ms)],
    ["Key", h("a", { href: link("calls", { key: call.key_id }) }, call.key_name ?? call.key_id)],
    ["Team", call.team && h("a", { href: link("calls", { team: call.team }) }, call.team)],
    ["Tags", call.tags.length > 0 && h("span", { class: "badges" }, call.tags.map((tag) => badge(tag)))],
    ["Alias", call.alias],
    ["Served by", call.target],
  ]);
}
