// Dialogs: forms, questions and panels above the page. The browser keeps the focus inside.

import { h, icon, newId, put } from "./dom.js";

/**
 * Open one. `body` is a node or a list of them; `foot` makes the buttons. Returns `close`, and
 * `place` for what is put in later. `closed` is called when it is over, however that came about.
 */
export function dialog({ title, body, foot = [], panel = false, closed = () => {} }) {
  const id = newId("dialog");
  const place = h("div", { class: "dialog-body" }, body);
  const head = h("div", { class: "dialog-head" }, h("h2", { id }, title), closeButton(() => element.close()));
  const bottom = h("div", { class: "dialog-foot" }, foot);
  const element = h("dialog", { class: panel && "panel", "aria-labelledby": id, onclick: beside }, head, place, foot.length ? bottom : null);
  element.addEventListener("close", () => {
    element.remove();
    closed();
  });
  document.body.append(element);
  element.showModal();

  function beside(event) {
    if (panel && event.target === element) element.close();
  }

  return { element, place, close: () => element.close() };
}

/** Close all: what they are about is no longer there. */
export function closeDialogs() {
  for (const element of document.querySelectorAll("dialog[open]")) element.close();
}

function closeButton(onclick) {
  return h("button", { type: "button", class: "button quiet small icon-only", "aria-label": "Close", onclick }, icon("close"));
}

/**
 * A form in a dialog. `send` gets nothing and returns a promise; its error is shown above the
 * buttons, and at the field that it names. On success the dialog closes.
 */
export function formDialog({ title, fields, action, send, danger = false, about = null }) {
  const fault = h("p", { class: "note bad", role: "alert", hidden: true });
  const button = h("button", { class: danger ? "button danger" : "button primary", type: "submit" }, action);
  const cancel = h("button", { class: "button", type: "button", onclick: () => box.close() }, "Cancel");
  const form = h("form", { class: "dialog-form", onsubmit: submit }, about && h("p", { class: "muted" }, about), fields, fault, h("div", { class: "dialog-foot" }, cancel, button));
  const box = dialog({ title, body: form });
  (form.querySelector(":is(input, select, textarea):not(:disabled)") ?? cancel).focus();

  async function submit(event) {
    event.preventDefault();
    button.disabled = true;
    fault.hidden = true;
    try {
      await send();
      box.close();
    } catch (error) {
      put(fault, error.message);
      fault.hidden = false;
      button.disabled = false;
      form.querySelector(`[name="${CSS.escape(error.param ?? "")}"]`)?.focus();
    }
  }

  return box;
}

/** A question before something that cannot be taken back. */
export function confirm({ title, text, action, send }) {
  return formDialog({ title, fields: [], about: text, action, send, danger: true });
}
