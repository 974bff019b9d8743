// Calls: which were there, what is coming in now, and what happened in one of them?

import { get } from "../api.js";
import { changed, go, note, params } from "../address.js";
import { filterBar, filtersOf } from "../calls/filters.js";
import { liveCalls } from "../calls/live.js";
import { columns } from "../calls/columns.js";
import { openCall } from "../calls/trace.js";
import { h, put } from "../dom.js";
import { asked, period } from "../period.js";
import { sheet } from "../sheet.js";
import { empty } from "../states.js";
import { row, table } from "../table.js";
import { toast } from "../notices.js";

const PAGE = 50;
const MOST_LIVE = 300;

export async function show(main, signal) {
  const filters = filtersOf(params());
  const span = params().period || params().since ? asked(period("7d")) : {};
  const live = params().live === "1";
  const query = { ...span, ...filters, limit: PAGE };
  const head = { title: "Calls", tools: [liveSwitch(live)] };
  await sheet(main, signal, head, () => get("/calls", query, signal), (page) => draw(page, { query, filters, live, signal }));
  if (params().call) openCall(params().call, () => note({ call: null }));
}

function liveSwitch(on) {
  const label = [h("span", { class: on ? "pulse on" : "pulse" }), "Live"];
  return h("button", { type: "button", class: "button", "aria-pressed": String(on), "data-focus": "live", onclick: () => go(changed({ live: on ? null : 1, since: null, until: null, period: null })) }, label);
}

function open(call) {
  note({ call: call.call_id });
  openCall(call.call_id, () => note({ call: null }));
}

function draw(page, { query, filters, live, signal }) {
  const shown = columns(open);
  const options = { open, rowId: (call) => call.call_id };
  const list = table("Calls", shown, page.data, options);
  const body = list.querySelector("tbody");
  const nothing = h("div", { hidden: page.data.length > 0 }, live
    ? empty("Waiting for calls", "They appear here as soon as they end.")
    : empty("No such calls", "Nothing in the ledger fits these filters."));
  list.hidden = !page.data.length;
  const more = h("button", { type: "button", class: "button", onclick: next }, "Show older calls");
  const foot = h("div", { class: "table-foot", hidden: !page.next }, more);
  let after = page.next;

  async function next() {
    more.disabled = true;
    try {
      const older = await get("/calls", { ...query, after }, signal);
      body.append(...older.data.map((call) => row(shown, call, options)));
      after = older.next;
      foot.hidden = !after;
    } catch (error) {
      if (error.name !== "AbortError") toast(error.message, true);
    }
    more.disabled = false;
  }

  function arrived(call) {
    if (body.querySelector(`[data-id="${CSS.escape(call.call_id)}"]`)) return;
    const added = row(shown, call, options);
    added.classList.add("fresh");
    body.prepend(added);
    while (body.children.length > MOST_LIVE) body.lastChild.remove();
    list.hidden = false;
    nothing.hidden = true;
  }

  const state = h("div", {});
  if (live) liveCalls(filters, arrived, (text) => put(state, text && h("p", { class: "note warn" }, text)), signal);
  return [filterBar(), state, h("div", { class: "card" }, list, nothing, foot)];
}
