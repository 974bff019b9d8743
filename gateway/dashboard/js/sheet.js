// A sheet: the head of a page at once, and its body when there is something to show.

import { h, put } from "./dom.js";
import { failed, loadingPage } from "./states.js";

/**
 * Show a page. `head` has `title`, `about` and `tools`; `load` gets the data, `draw` makes the body.
 * Another view of the same page leaves the old body where it is until the new one is ready.
 */
export async function sheet(main, signal, head, load, draw) {
  if (signal.aborted) return; // what ends late brings no page back that was left
  const kept = main.querySelector(`.page[data-title="${CSS.escape(head.title)}"] > .page-body`);
  const body = kept ?? h("div", { class: "page-body" }, loadingPage());
  body.classList.toggle("stale", kept !== null);
  const focused = document.activeElement?.dataset?.focus;
  put(main, h("div", { class: "page", "data-title": head.title }, top(head), body));
  if (focused) main.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
  await fill();

  async function fill() {
    try {
      const data = await load(signal);
      if (signal.aborted) return;
      put(body, draw(data, fill));
    } catch (error) {
      if (error.name === "AbortError" || signal.aborted) return;
      if (error.status === undefined) console.error(error);
      put(body, failed(error, fill));
    }
    body.classList.remove("stale");
  }
}

function top({ title, about, tools }) {
  return h(
    "div",
    { class: "page-head" },
    h("div", {}, h("h1", {}, title), about && h("p", {}, about)),
    tools && h("div", { class: "page-tools" }, tools),
  );
}

/** A box with a heading. */
export function card(title, { about, tools, flush, id } = {}, ...children) {
  return h(
    "section",
    { class: "card", id, "aria-label": title },
    h("div", { class: "card-head" }, h("div", {}, h("h2", {}, title), about && h("p", {}, about)), tools),
    h("div", { class: flush ? "card-body flush" : "card-body" }, children),
  );
}

/** A figure: its name, its value, a small drawing, and what is to be known with it. */
export function tile(name, value, beside = [], drawing = null) {
  return h(
    "div",
    { class: "card tile" },
    h("div", { class: "name" }, name),
    h("div", { class: "figure" }, h("div", { class: "value" }, value), drawing),
    h("div", { class: "beside" }, beside),
  );
}

export const badge = (text, tone = "", dot = false) => h("span", { class: `badge ${tone} ${dot ? "dot" : ""}` }, text);

/** Terms and what they are. Pairs without a value are left out. */
export function pairs(found) {
  const known = found.filter(([, value]) => value !== null && value !== undefined && value !== false);
  return h("dl", { class: "pairs" }, known.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}
