// Providers with their credentials. Those of config.toml can only be read here.

import { post, remove } from "../api.js";
import { confirm, formDialog } from "../dialog.js";
import { h, icon } from "../dom.js";
import { check, text } from "../fields.js";
import { ago, whole } from "../format.js";
import { toast } from "../notices.js";
import { badge, card, pairs } from "../sheet.js";
import { empty } from "../states.js";
import { named, table } from "../table.js";

export function providerCards(providers, targets, again) {
  if (!providers.data.length) return h("div", { class: "card" }, empty("No providers", "They are named in config.toml."));
  const benched = new Set(targets.credentials.filter((one) => one.state !== "closed").map((one) => `${one.provider} ${one.credential}`));
  const order = [...providers.data].sort((one, other) => (other.state === "on") - (one.state === "on"));
  return order.map((provider) => providerCard(provider, benched, again));
}

function providerCard(provider, benched, again) {
  const on = provider.state === "on";
  const tools = h("div", { class: "page-tools" }, badge(provider.state, on ? "good" : "", true), h("button", { type: "button", class: "button small", onclick: () => add(provider, again) }, icon("plus"), "Credential"));
  const models = provider.models.length > 8 ? [...provider.models.slice(0, 8), `and ${whole(provider.models.length - 8)} more`] : provider.models;
  return card(provider.name, { tools, about: [provider.kind, provider.lane && `${provider.lane} lane`].filter(Boolean).join(", ") },
    pairs([
      ["Missing", provider.missing.length > 0 && h("span", { class: "badges" }, provider.missing.map((name) => badge(name, "warn")))],
      ["Address", provider.base_url],
      ["Models", models.length > 0 && h("span", { class: "badges" }, models.map((name) => badge(name)))],
    ]),
    provider.credentials.length > 0 && h("div", { class: "inset" }, table(`Credentials of ${provider.name}`, columns(provider, benched, again), provider.credentials)),
  );
}

function columns(provider, benched, again) {
  return [
    { title: "Credential", cell: (one) => named(one.name, one.hint) },
    { title: "From", cell: (one) => badge(one.source === "config" ? "config.toml" : "database", one.source === "config" ? "" : "accent") },
    { title: "State", cell: (one) => benched.has(`${provider.name} ${one.name}`) ? badge("benched", "bad", true) : one.in_use ? badge(one.rotate ? "in turn" : "in use", "good", true) : badge(provider.state === "on" ? "replaced" : "off") },
    { title: "Changed", cell: (one) => (one.updated_at_ms === null ? h("span", { class: "faint" }, "with the file") : ago(one.updated_at_ms)) },
    { title: "What can be done", unseen: true, cell: (one) => one.id && h("div", { class: "row-tools" }, h("button", { type: "button", class: "button small", onclick: () => replace(one, again) }, "Replace"), h("button", { type: "button", class: "button small danger", onclick: () => drop(one, again) }, "Remove")) },
  ];
}

const secretField = () => text("Secret", { name: "secret", type: "password", required: true, wide: true, autocomplete: "new-password", hint: "Kept sealed. Nothing shows it again." });

function add(provider, again) {
  const name = text("Name", { name: "name", value: "default", required: true, hint: "default goes before the file's own." });
  const rotate = check("Serve in turn with the default one", { name: "rotate" });
  const secret = secretField();
  formDialog({
    title: `New credential for ${provider.name}`,
    fields: [h("div", { class: "fields" }, name.element, h("div", { class: "field" }, h("span", { class: "label" }, "Rotation"), rotate.element), secret.element)],
    action: "Keep it",
    async send() {
      await post("/credentials", { provider: provider.name, name: name.value(), secret: secret.value(), rotate: rotate.value() });
      toast("The credential is kept");
      again();
    },
  });
}

function replace(one, again) {
  const secret = secretField();
  formDialog({
    title: `Replace ${one.name}`,
    fields: [secret.element],
    action: "Replace",
    async send() {
      await post(`/credentials/${one.id}/rotate`, { secret: secret.value() });
      toast("The credential is replaced");
      again();
    },
  });
}

function drop(one, again) {
  confirm({
    title: `Remove ${one.name}?`,
    text: "The secret is forgotten. Where config.toml has one of the same name, that is used again.",
    action: "Remove",
    async send() {
      await remove(`/credentials/${one.id}`);
      toast("The credential is removed");
      again();
    },
  });
}
