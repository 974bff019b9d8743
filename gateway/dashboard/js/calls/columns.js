// The columns of calls.

import { h } from "../dom.js";
import { duration, exactMoney, fullTime, moment, money, short } from "../format.js";
import { badge } from "../sheet.js";
import { named, opener } from "../table.js";

const CACHE_TONES = { hit: "good", coalesced: "good", miss: "", bypass: "" };

/** 200 is good; what the caller did wrong is a warning; the rest went wrong elsewhere. */
export function statusBadge(call) {
  const tone = call.status < 400 ? (call.error ? "warn" : "good") : call.status < 500 ? "warn" : "bad";
  return badge(call.error ? `${call.status} ${call.error}` : String(call.status), tone, true);
}

export const cacheBadge = (status) => status && badge(status, CACHE_TONES[status]);

/** Whose answer is it, where no target gave one? */
const unserved = (call) => (CACHE_TONES[call.cache] ? "from the cache" : "no target");

export function columns(open) {
  return [
    { title: "Time", cell: (call) => h("time", { title: fullTime(call.received_at_ms), class: "nowrap" }, moment(call.received_at_ms)) },
    { title: "Model", cell: (call) => [opener(call.asked_model, () => open(call)), h("span", { class: "sub" }, call.target ?? unserved(call))] },
    { title: "Key", cell: (call) => named(call.key_name ?? call.key_id, call.team) },
    { title: "Result", cell: (call) => h("span", { class: "badges" }, statusBadge(call), cacheBadge(call.cache), call.attempts > 1 && badge(`${call.attempts} attempts`)) },
    { title: "Tokens", number: true, cell: (call) => named(short(call.prompt_tokens + call.completion_tokens), `${short(call.prompt_tokens)} → ${short(call.completion_tokens)}`) },
    { title: "Time taken", number: true, cell: (call) => named(duration(call.duration_ms), call.first_event_ms === null ? null : `first ${duration(call.first_event_ms)}`) },
    { title: "Cost", number: true, cell: (call) => h("span", { title: exactMoney(call.cost_nano_usd) }, call.cost_nano_usd === null ? "unpriced" : money(call.cost_nano_usd)) },
  ];
}
