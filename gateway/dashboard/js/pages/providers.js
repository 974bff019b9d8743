// Providers: who serves, how are they, with whose credentials, and at which prices?

import { get } from "../api.js";
import { link, params } from "../address.js";
import { h } from "../dom.js";
import { priceTab } from "../providers/prices.js";
import { providerCards } from "../providers/credentials.js";
import { targetTable } from "../providers/targets.js";
import { sheet } from "../sheet.js";

const DAY_MS = 86400e3;
const TABS = [["targets", "Targets"], ["credentials", "Providers and credentials"], ["prices", "Prices"]];
const DRAWS = {
  targets: [["/targets", "/usage"], targetTable],
  credentials: [["/providers", "/targets"], providerCards],
  prices: [["/prices", "/providers"], priceTab],
};

export async function show(main, signal) {
  const tab = params().tab in DRAWS ? params().tab : "targets";
  const [paths, draw] = DRAWS[tab];
  const load = () => Promise.all(paths.map((path) => get(path, path === "/usage" ? { by: "target", since: Date.now() - DAY_MS } : {}, signal)));
  const again = () => show(main, signal);
  const tabs = TABS.map(([name, text]) => h("a", { href: link("providers", { tab: name === "targets" ? null : name }), "aria-current": name === tab && "true", "data-focus": `tab-${name}` }, text));
  await sheet(main, signal, { title: "Providers" }, load, (found) => [h("nav", { class: "tabs", "aria-label": "Targets, credentials and prices" }, tabs), draw(...found, again)]);
}
