// Who spent most, and what failed. A name narrows the page to it.

import { changed, link } from "../address.js";
import { h } from "../dom.js";
import { money, percent, short, whole } from "../format.js";
import { card } from "../sheet.js";
import { empty } from "../states.js";
import { share, table } from "../table.js";

const SHOWN = 8;

export function spenders(data) {
  return [
    most("Models", "model", data.models),
    most("Teams", "team", data.teams),
    most("Keys", "key", data.keys),
    failures(data),
  ];
}

function most(title, name, rows) {
  const largest = Math.max(...rows.map((row) => row.cost_nano_usd), 0);
  const columns = [
    { title: title.slice(0, -1), cell: (row) => [row.id ? h("a", { href: changed({ [name]: row.id }) }, row.name) : row.name, share(row.cost_nano_usd, largest)] },
    { title: "Calls", number: true, cell: (row) => short(row.calls) },
    { title: "Tokens", number: true, cell: (row) => short(row.prompt_tokens + row.completion_tokens) },
    { title: "Spend", number: true, cell: (row) => money(row.cost_nano_usd) },
  ];
  return card(title, { flush: true }, rows.length ? table(title, columns, rows.slice(0, SHOWN)) : empty("Nothing", null));
}

function failures({ errors, totals }) {
  const largest = Math.max(...errors.map((row) => row.calls), 0);
  const columns = [
    { title: "Kind", cell: (row) => [h("a", { href: link("calls", { error: row.kind }) }, row.kind), share(row.calls, largest)] },
    { title: "Status", number: true, cell: (row) => row.status },
    { title: "Calls", number: true, cell: (row) => whole(row.calls) },
    { title: "Share", number: true, cell: (row) => percent(totals.calls ? row.calls / totals.calls : null, 2) },
  ];
  const none = empty("No errors", "Every call of this period was answered.");
  return card("Errors by kind", { flush: true }, errors.length ? table("Errors by kind", columns, errors.slice(0, SHOWN)) : none);
}
