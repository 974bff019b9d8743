// The figures of a period, each compared with the period before.

import { spark } from "../charts/marks.js";
import { h } from "../dom.js";
import { duration, money, percent, short, shortMoney, whole } from "../format.js";
import { tile } from "../sheet.js";

const SMALL = 0.005;
const MANIFOLD = 9;

export function tiles({ totals: now, previous: before, series }) {
  const sum = (name) => series.times_ms.map((_, at) => series.groups.reduce((total, group) => total + (group[name][at] ?? 0), 0));
  const tokens = (of) => of.prompt_tokens + of.completion_tokens;
  const rate = (of) => (of.calls ? of.errors / of.calls : null);
  const hits = (of) => (of.cache_lookups ? of.cache_hits / of.cache_lookups : null);
  return h(
    "div",
    { class: "tiles" },
    tile("Spend", shortMoney(now.cost_nano_usd), [delta(now.cost_nano_usd, before.cost_nano_usd, 0), now.unpriced ? `${whole(now.unpriced)} attempts without a price` : null], spark(sum("cost_nano_usd"))),
    tile("Calls", short(now.calls), [delta(now.calls, before.calls, 0)], spark(series.calls)),
    tile("Tokens", short(tokens(now)), [delta(tokens(now), tokens(before), 0), now.prompt_tokens ? `${percent(now.cached_tokens / now.prompt_tokens, 0)} cached` : null], spark(sum("tokens"))),
    tile("Error rate", percent(rate(now), 2), [delta(rate(now), rate(before), -1), `${whole(now.errors)} failed`], spark(series.errors.map((count, at) => (series.calls[at] ? count / series.calls[at] : 0)), "bad")),
    tile("Saved by the cache", money(now.saved_nano_usd), [delta(now.saved_nano_usd, before.saved_nano_usd, 1), now.cache_lookups ? `${percent(hits(now), 0)} of lookups hit` : "not asked"], spark(series.saved_nano_usd, 3)),
    tile("Latency, median", duration(now.duration_ms.p50), [delta(now.duration_ms.p50, before.duration_ms.p50, -1), `p95 ${duration(now.duration_ms.p95)}`], spark(series.p50_ms, 2)),
    tile("Time to first token", duration(now.first_event_ms.p50), [delta(now.first_event_ms.p50, before.first_event_ms.p50, -1), `p95 ${duration(now.first_event_ms.p95)}`], spark(series.first_event_p50_ms, 2)),
    tile("Gateway overhead", duration(now.overhead_ms.p50), [delta(now.overhead_ms.p50, before.overhead_ms.p50, -1), `p95 ${duration(now.overhead_ms.p95)}`]),
  );
}

/** The change to the period before. `better`: is more better (1), less (-1), or neither (0)? */
function delta(now, before, better) {
  if (!before || now === null || now === undefined) return null;
  const change = now / before - 1;
  const same = Math.abs(change) < SMALL;
  const tone = same || !better ? "" : Math.sign(change) === better ? "better" : "worse";
  const arrow = same ? "" : change > 0 ? "▲ " : "▼ ";
  const by = Math.abs(change);
  const text = same ? "as before" : by > MANIFOLD ? `${short(now / before)} times` : percent(by, by < 0.1 ? 1 : 0);
  const spoken = same ? "" : change > 0 ? "up " : "down ";
  return h("span", { class: `delta ${tone}`, title: "Compared with the period before" }, h("span", { "aria-hidden": "true" }, arrow), h("span", { class: "unseen" }, spoken), text);
}
