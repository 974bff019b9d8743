// Settings of keys and teams, as fields: which are there, and what may they be?

import { number, select } from "../fields.js";

const NUMBERS = [
  ["rpm", "Calls a minute"],
  ["tpm", "Tokens a minute"],
  ["concurrent", "Calls at once"],
  ["priority", "Priority"],
];
const CHOICES = [
  ["cache", "Cache", [["", "As configured"], ["true", "On"], ["false", "Off"]]],
  ["clamp", "Shorten answers to the budget", [["", "As configured"], ["true", "Yes"], ["false", "No"]]],
  ["context", "Prompts that are too long", [["", "As configured"], ["strict", "Refuse"], ["lenient", "Let the provider decide"], ["oldest", "Drop the oldest"], ["middle", "Drop the middle"]]],
];

/** `given()` are those that are said, `changes()` those that differ: null removes one. */
export function settingFields(settings) {
  const numbers = NUMBERS.map(([name, title]) => [name, number(title, { name: `settings.${name}`, value: settings[name] ?? "", placeholder: "no limit of its own" })]);
  const choices = CHOICES.map(([name, title, options]) => [name, select(title, options, { name: `settings.${name}`, value: settings[name] === undefined ? "" : String(settings[name]) })]);
  const said = () => Object.fromEntries([
    ...numbers.map(([name, field]) => [name, field.value()]),
    ...choices.map(([name, field]) => [name, read(field.value())]),
  ]);
  return {
    fields: [...numbers, ...choices].map(([, field]) => field),
    given: () => Object.fromEntries(Object.entries(said()).filter(([, value]) => value !== null)),
    changes: () => Object.fromEntries(Object.entries(said()).filter(([name, value]) => value !== (settings[name] ?? null))),
  };
}

function read(value) {
  if (value === "") return null;
  return value === "true" || value === "false" ? value === "true" : value;
}
