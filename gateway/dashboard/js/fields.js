// Fields of forms: a label, a control, and a hint that belongs to it.

import { h, newId } from "./dom.js";

function field(label, control, { hint, wide } = {}) {
  const hintId = hint && newId("hint");
  if (hintId) control.setAttribute("aria-describedby", hintId);
  const element = h("div", { class: wide ? "field wide" : "field" }, h("label", { for: control.id }, label), control, hint && h("span", { class: "hint", id: hintId }, hint));
  return { element, control };
}

/** A line of text. `value()` is trimmed. */
export function text(label, { name, value = "", type = "text", hint, wide, placeholder, required, options, step, min, max, autocomplete = "off" } = {}) {
  const list = options && h("datalist", { id: newId("options") }, options.map((option) => h("option", { value: option })));
  const control = h("input", { class: "input", id: newId("field"), name, type, value, placeholder, required, step, min, max, autocomplete, spellcheck: "false", list: list?.id });
  const made = field(label, control, { hint, wide });
  if (list) made.element.append(list);
  return { element: made.element, control, value: () => control.value.trim() };
}

/** Many lines of text. */
export function area(label, { name, value = "", rows = 3, hint, placeholder } = {}) {
  const control = h("textarea", { class: "input", id: newId("field"), name, rows, placeholder });
  control.value = value;
  return { ...field(label, control, { hint, wide: true }), value: () => control.value };
}

/** One of a few: `[value, title]`. */
export function select(label, options, { name, value = "", hint, wide, onchange } = {}) {
  const control = h("select", { class: "input", id: newId("field"), name, onchange }, options.map(([id, title]) => h("option", { value: id, selected: id === value }, title)));
  return { ...field(label, control, { hint, wide }), value: () => control.value };
}

/** Yes or no. */
export function check(label, { name, value = false } = {}) {
  const control = h("input", { type: "checkbox", name, checked: value });
  control.checked = value;
  return { element: h("label", { class: "check" }, control, label), control, value: () => control.checked };
}

/** A number, or null where nothing is said. */
export function number(label, options = {}) {
  const made = text(label, { type: "number", min: 0, step: 1, ...options });
  return { ...made, value: () => (made.control.value === "" ? null : Number(made.control.value)) };
}

/** Words with commas or blanks between them. */
export function words(label, options = {}) {
  const made = text(label, { ...options, value: (options.value ?? []).join(", ") });
  return { ...made, value: () => made.control.value.split(/[\s,]+/).filter(Boolean) };
}
