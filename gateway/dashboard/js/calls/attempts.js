// Attempts: what was each of them charged, for which tokens, by which price?

import { h } from "../dom.js";
import { duration, exactMoney, fullTime, whole } from "../format.js";
import { badge, card, pairs } from "../sheet.js";

const STATES = { settled: "good", open: "accent", lost: "warn" };
const COUNTS = [
  ["prompt_tokens", "Prompt"], ["cached_tokens", "of it cached"], ["cache_write_tokens", "of it written to the cache"],
  ["prompt_audio_tokens", "of it audio"], ["prompt_image_tokens", "of it images"],
  ["completion_tokens", "Completion"], ["reasoning_tokens", "of it reasoning"],
];

export const attemptCards = (attempts) => attempts.map(attemptCard);

function attemptCard(one) {
  const tools = h("span", { class: "badges" }, one.error ? badge(one.error, "bad", true) : badge(one.state, STATES[one.state], true));
  return card(`Attempt ${one.number}: ${one.target}`, { tools }, pairs([
    ["Cost", one.cost_nano_usd === null ? "unknown: no price" : exactMoney(one.cost_nano_usd)],
    ["Held for it", one.bound_nano_usd !== null && exactMoney(one.bound_nano_usd)],
    ["Credential", one.credential],
    ["Began", fullTime(one.opened_at_ms)],
    ["Took", one.duration_ms !== null && `${duration(one.duration_ms)}${one.first_event_ms === null ? "" : `, first event after ${duration(one.first_event_ms)}`}`],
    ["Tokens", tokens(one.usage)],
    ["Price", price(one.price)],
  ]));
}

function tokens(usage) {
  const known = usage && COUNTS.filter(([name]) => usage[name] > 0);
  if (!known?.length) return null;
  const said = usage.source === "provider" || !usage.source ? null : h("div", { class: "muted" }, usage.source === "estimated" ? "Estimated: the provider did not say." : "Partly estimated.");
  return [known.map(([name, title]) => h("div", {}, `${title} ${whole(usage[name])}`)), said];
}

/** Figures are dollars per token. Per million they can be read. */
export function price(figures) {
  const known = Object.entries(figures ?? {}).filter(([, value]) => typeof value === "number" || typeof value === "string");
  if (!known.length) return null;
  return known.map(([name, value]) => h("div", {}, `${name.replaceAll("_", " ")}: ${perMillion(name, value)}`));
}

export function perMillion(name, value) {
  const amount = Number(value);
  if (Number.isNaN(amount) || !name.includes("token")) return String(value);
  return `$${Number((amount * 1e6).toPrecision(6))} per million`;
}
