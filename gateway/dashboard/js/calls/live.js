// Live: which calls are ending right now?

import { address } from "../api.js";

/** Call `arrived` with each new call that fits, until `signal` ends it. `tell` hears of faults. */
export function liveCalls(filters, arrived, tell, signal) {
  if (signal.aborted) return;
  const events = new EventSource(address("/calls/live"));
  events.addEventListener("call", (event) => {
    const call = JSON.parse(event.data);
    if (fits(call, filters)) arrived(call);
  });
  events.addEventListener("open", () => tell(null));
  events.addEventListener("error", () => {
    tell(events.readyState === EventSource.CLOSED ? "The live view has ended. Reload the page to follow again." : null);
  });
  signal.addEventListener("abort", () => events.close());
}

/** The same question that the API answers for calls of the past. */
export function fits(call, { model, key, team, target, error, tag, status, failed, cache }) {
  return (
    (!model || call.asked_model === model) &&
    (!key || call.key_id === key) &&
    (!team || call.team === team) &&
    (!target || call.target === target) &&
    (!error || call.error === error) &&
    (!tag || call.tags.includes(tag)) &&
    (!status || String(call.status) === status) &&
    (!failed || call.error !== null) &&
    (!cache || call.cache === cache)
  );
}
