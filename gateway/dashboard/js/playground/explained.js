// An explanation: what would become of the call, if it were made now?

import { steps } from "../calls/facts.js";
import { h } from "../dom.js";
import { duration, money, percent, whole } from "../format.js";
import { badge, card, pairs } from "../sheet.js";
import { named, table } from "../table.js";

const OUTCOMES = {
  provider: ({ target, credential }) => `It would be sent to ${target} with credential ${credential}.`,
  cache: () => "A kept answer would be given.",
  joined: () => "It would join the same call, which is under way.",
  replayed: () => "It would get the answer of an earlier call.",
  refused: ({ error }) => error?.message ?? "It would be refused.",
  policy: () => "A policy would answer it.",
};

export function explained(found) {
  const { outcome, limits, route, attempts, budgets, dropped, cache, not_evaluated: skipped } = found;
  const refused = outcome.kind === "refused";
  return h(
    "div",
    { class: "stack" },
    card("Explanation", { tools: badge(outcome.kind, refused ? "bad" : "good", true), about: "Nothing was sent, stored or counted." },
      h("p", { class: refused ? "note bad" : "note" }, (OUTCOMES[outcome.kind] ?? (() => outcome.kind))(outcome)),
      pairs([
        ["Key", found.key && `${found.key.name}${found.key.team ? ` of team ${found.key.team}` : ""}`],
        ["Alias", route?.alias],
        ["Strategy", route && `${route.strategy}${route.sticky === "no" ? "" : `, sticky by ${route.sticky}`}`],
        ["Cache", cache?.status],
        ["Dropped", dropped && `${whole(dropped.messages.length)} messages, about ${whole(dropped.tokens)} tokens`],
        ["Not asked", skipped.length > 0 && skipped.join(", ")],
      ])),
    attempts.length > 0 && card("What would be tried", { flush: true }, table("Attempts", ATTEMPTS, attempts)),
    route && card("Candidates", { flush: true }, table("Candidates", CANDIDATES, route.candidates)),
    limits.length > 0 && card("Limits", { flush: true }, table("Limits", LIMITS, limits)),
    budgets.length > 0 && card("Budgets, while it runs", {}, pairs(budgets.map((budget) => [budget.name, `${money(budget.left_nano_usd)} left`]))),
    card("What the path found", {}, steps(found.facts)),
  );
}

const ATTEMPTS = [
  { title: "", cell: (one) => (one.number === null ? h("span", { class: "faint" }, "then") : String(one.number)) },
  { title: "Target", cell: (one) => named(one.target, one.fallback ? `fallback ${one.fallback}` : one.credential) },
  { title: "At most", number: true, cell: (one) => (one.worst_case_nano_usd === null ? "unpriced" : money(one.worst_case_nano_usd)) },
];
const CANDIDATES = [
  { title: "Target", cell: (one) => named(one.target, one.credential) },
  { title: "State", cell: (one) => badge(one.usable ? one.state : `${one.state}, not usable`, one.usable ? "good" : "bad", true) },
  { title: "First choice", number: true, cell: (one) => (one.share === null ? "in order" : percent(one.share, 0)) },
];
const LIMITS = [
  { title: "Limit", cell: (one) => named(`${one.scope} ${one.kind}`, one.subject) },
  { title: "Of", number: true, cell: (one) => whole(one.limit) },
  { title: "Left", number: true, cell: (one) => (one.full ? badge("full", "bad") : whole(one.remaining)) },
  { title: "Free again", number: true, cell: (one) => (one.reset_s === null ? "–" : duration(one.reset_s * 1000)) },
];
