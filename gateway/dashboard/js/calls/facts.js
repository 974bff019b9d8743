// The trace in words: what did each policy do?

import { h } from "../dom.js";
import { bytes, duration, money, whole } from "../format.js";

const list = (values) => (Array.isArray(values) ? values.join(", ") : String(values));
const left = (named, write) => Object.entries(named ?? {}).map(([name, value]) => `${name} ${write(value)}`).join(", ");

/** Which policy it was, and a sentence. A kind that is not here is shown as it is. */
const WORDS = {
  identified: (f) => ["Keys", `Key ${f.key}${f.team ? ` of team ${f.team}` : ""}.`],
  limited: (f) => ["Limits", f.refused_by ? `Refused: ${f.refused_by} is used up.` : `Within its limits. Left: ${left(f.left, whole) || "not limited"}.`, f.refused_by && "bad"],
  replayed: () => ["Idempotency", "Answered with the answer of an earlier call with the same key.", "good"],
  not_kept: (f) => ["Idempotency", `The answer is too large to be kept (${bytes(f.size_bytes)}).`, "warn"],
  routed: (f) => ["Route", `${f.alias ? `Alias ${f.alias}` : "No alias"}: ${list(f.targets)}.`],
  picked: (f) => ["Route", `Strategy ${f.strategy}${f.sticky && f.sticky !== "no" ? `, sticky by ${f.sticky}` : ""}${f.benched?.length ? `; benched: ${list(f.benched)}` : ""}.`],
  skipped: (f) => ["Route", `${f.target} was passed over: ${f.reason}.`, "warn"],
  truncated: (f) => ["Context window", `Messages ${f.messages} were dropped for ${f.target}: about ${whole(f.tokens)} tokens; ${whole(f.kept_tokens)} were kept.`, "warn"],
  cached: (f) => ["Cache", { hit: "Answered from the cache.", coalesced: "Joined the same call, which was under way.", miss: "Not in the cache.", bypass: "The caller wanted no kept answer." }[f.status] ?? f.status, f.status === "hit" || f.status === "coalesced" ? "good" : ""],
  saved: (f) => ["Cache", `Saved ${whole(f.tokens)} tokens${f.cost_nano_usd === null ? "" : ` and ${money(f.cost_nano_usd)}`}.`, "good"],
  stored: (f) => ["Cache", `The answer was kept (${bytes(f.bytes)}).`],
  unreadable: () => ["Cache", "A kept answer could not be opened, and was taken as none.", "warn"],
  paused: (f) => ["Retry", `Waited ${duration(f.ms)}.`],
  attempt_started: (f) => ["Retry", `Attempt ${f.number} at ${f.target} with credential ${f.credential}.`],
  attempt_sent: (f) => ["Lane", `Attempt ${f.number} was sent.`],
  attempt_answered: (f) => ["Lane", `Attempt ${f.number}: the answer, or its first event, is here.`],
  attempt_ended: (f) => ["Account", f.error ? `Attempt ${f.number} ended with ${f.error}.` : `Attempt ${f.number} ended well, and was settled.`, f.error ? "bad" : "good"],
  never_sent: (f) => ["Lane", `Attempt ${f.number} never left the gateway.`, "warn"],
  hedged: (f) => ["Retry", `After ${duration(f.ms)} attempt ${f.number} was made beside it. Answered by: ${f.won}.`],
  budgeted: (f) => ["Account", `${money(f.bound_nano_usd)} held at most. Left after that: ${left(f.left_nano_usd, money)}.`],
  clamped: (f) => ["Account", `The answer was limited to ${whole(f.max_tokens)} tokens by a budget.`, "warn"],
  budget_overrun: (f) => ["Account", `Over a soft budget: ${list(f.budgets)}.`, "warn"],
  topped_up: (f) => ["Account", `The stream held more ${f.times} time${f.times === 1 ? "" : "s"}, at last ${money(f.bound_nano_usd)}.`],
  stopped: (f) => ["Account", `The stream was ended after ${whole(f.tokens)} tokens: ${f.budget} had no room for more.`, "bad"],
  observed: (f) => ["Telemetry", `Attempt ${f.number} was answered by ${f.model ?? "a model it did not name"}.`],
  not_evaluated: (f) => ["Policy", `${f.policy} was passed by: it cannot look without acting.`, "warn"],
};

export function steps(trace, call = null) {
  if (!trace.length) return h("p", { class: "muted" }, "Nothing is kept of it.");
  const items = trace.map((fact) => step(fact));
  const end = call && h("li", { class: call.error ? "bad-step" : "good-step" }, h("span", { class: "who" }, "Answer"), h("span", {}, call.error ? `Status ${call.status}: ${call.error}.` : `Status ${call.status}.`), h("span", { class: "when" }, duration(call.duration_ms)));
  return h("ol", { class: "steps" }, items, end);
}

function step(fact) {
  const { fact: kind, ...rest } = fact;
  const [who, text, tone] = WORDS[kind]?.(rest) ?? [kind, JSON.stringify(rest)];
  const when = fact.at_us === undefined ? null : duration(fact.at_us / 1000);
  return h("li", { class: tone ? `${tone}-step` : null }, h("span", { class: "who" }, who), h("span", {}, text), h("span", { class: "when" }, when));
}
