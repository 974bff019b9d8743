// Forms of keys: made, changed and rotated.

import { patch, post, put as putTo } from "../api.js";
import { dialog, formDialog } from "../dialog.js";
import { h } from "../dom.js";
import { go, link } from "../address.js";
import { check, number, select, text, words } from "../fields.js";
import { copy, toast } from "../notices.js";
import { keepKey } from "../playground/key.js";
import { settingFields } from "./settings.js";

const DAY_MS = 86400e3;
const GRACE = [["0", "At once"], ["3600", "After an hour"], ["86400", "After a day"], ["604800", "After a week"]];

const until = (date) => (date ? Date.parse(`${date}T23:59:59Z`) : null);
const dateOf = (ms) => (ms ? new Date(ms).toISOString().slice(0, 10) : "");

export function createKey({ known, done }) {
  const form = keyFields({ models: ["*"], tags: [], settings: {} }, known);
  const limit = number("Monthly budget, dollars", { name: "limit_nano_usd", step: "any", hint: "Empty: none of its own." });
  const hard = check("Refuse calls beyond it", { name: "hard", value: true });
  formDialog({
    title: "New key",
    fields: [h("div", { class: "fields" }, form.elements, limit.element, h("div", { class: "field" }, h("span", { class: "label" }, "Budget is hard"), hard.element))],
    action: "Create key",
    async send() {
      const made = await post("/keys", form.created());
      if (limit.value() !== null) {
        const budget = { scope: "key", scope_value: made.id, limit_nano_usd: Math.round(limit.value() * 1e9), hard: hard.value() };
        await putTo("/budgets", budget).catch((error) => toast(`The key was made, its budget was not: ${error.message}`, true));
      }
      showSecret(made, done);
    },
  });
}

export function editKey({ key, known, done }) {
  const form = keyFields(key, known);
  formDialog({
    title: key.name,
    fields: [h("div", { class: "fields" }, form.elements)],
    action: "Save",
    async send() {
      await patch(`/keys/${key.id}`, form.changes());
      toast("Saved");
      done();
    },
  });
}

function keyFields(key, { teams }) {
  const name = text("Name", { name: "name", value: key.name ?? "", required: true });
  const team = text("Team", { name: "team", value: key.team ?? "", options: teams.map((one) => one.name), hint: "A new name makes a new team." });
  const models = words("Models", { name: "models", value: key.models, wide: true, hint: "Aliases and patterns such as gpt-*, with commas between them. * is every model." });
  const tags = words("Tags", { name: "tags", value: key.tags, hint: "Its calls carry them." });
  const expires = text("Valid until", { name: "expires_at_ms", type: "date", value: dateOf(key.expires_at_ms), min: dateOf(Date.now() + DAY_MS), hint: "The end of that day, UTC. Empty: for ever." });
  const settings = settingFields(key.settings);
  const said = () => ({
    name: name.value(), team: team.value() || null, models: models.value().length ? models.value() : ["*"], tags: tags.value(), expires_at_ms: expires.control.value === dateOf(key.expires_at_ms) ? key.expires_at_ms ?? null : until(expires.value()),
  });
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  return {
    elements: [name, team, models, tags, expires, ...settings.fields].map((field) => field.element),
    created: () => ({ ...said(), settings: settings.given() }),
    /** Only what is different: somebody else may be changing the rest. */
    changes() {
      const changed = Object.entries(said()).filter(([field, value]) => !same(value, key[field] ?? null));
      const settled = settings.changes();
      return { ...Object.fromEntries(changed), ...(Object.keys(settled).length ? { settings: settled } : {}) };
    },
  };
}

export function rotateKey({ key, done }) {
  const grace = select("The old key ends", GRACE, { name: "grace_s", value: "86400" });
  formDialog({
    title: `Rotate ${key.name}`,
    about: "Makes a new key with the same rights. Budgets and limits go on with it.",
    fields: [grace.element],
    action: "Rotate",
    async send() {
      showSecret(await post(`/keys/${key.id}/rotate`, { grace_s: Number(grace.value()) }), done);
    },
  });
}

/** The one time that a secret can be read. */
function showSecret(made, done) {
  const secret = h("code", { id: "new-secret" }, made.secret);
  const use = () => {
    keepKey(made.secret);
    box.close();
    go(link("playground"));
  };
  const box = dialog({
    title: `${made.name} is ready`,
    body: [
      h("p", {}, "Copy the key now. It is shown only here, and stored nowhere."),
      h("div", { class: "secret" }, secret, h("button", { type: "button", class: "button small primary", onclick: () => copy(made.secret, "Key") }, "Copy")),
    ],
    foot: [h("button", { type: "button", class: "button", onclick: use }, "Try it in the playground"), h("button", { type: "button", class: "button primary", onclick: () => box.close() }, "Done")],
    closed: done,
  });
}
