// Playground: what does a model answer, how did the call go, and what did it cost?

import { get } from "../api.js";
import { callView } from "../calls/trace.js";
import { h, icon, put } from "../dom.js";
import { area, check, number, text } from "../fields.js";
import { explained } from "../playground/explained.js";
import { keepKey, keptKey } from "../playground/key.js";
import { explain, models, send } from "../playground/request.js";
import { card, sheet } from "../sheet.js";
import { empty, failed, loading } from "../states.js";
import { say } from "../notices.js";

const ROW_TRIES = 12;
const ROW_WAIT_MS = 250;
const MODEL = "sluice.playground-model";

export async function show(main, signal) {
  await sheet(main, signal, { title: "Playground", about: "Calls that cost what they cost, with a virtual key." }, async () => null, () => draw(signal));
}

function draw(signal) {
  const key = text("Virtual key", { name: "key", type: "password", value: keptKey(), placeholder: "sk-sluice-…", hint: "Kept in this tab only." });
  const model = text("Model", { name: "model", value: sessionStorage.getItem(MODEL) ?? "", options: [], placeholder: "an alias, or provider/model" });
  const system = area("System message", { name: "system", rows: 2 });
  const user = area("Message", { name: "user", rows: 5, placeholder: "Say something" });
  const temperature = number("Temperature", { name: "temperature", step: "any", placeholder: "default" });
  const most = number("Most tokens", { name: "max_tokens", min: 1, placeholder: "default" });
  const stream = check("Stream the answer", { name: "stream", value: true });
  const fresh = check("Do not use the cache", { name: "fresh" });
  const go = h("button", { class: "button primary", type: "submit" }, icon("playground"), "Send");
  const stop = h("button", { class: "button danger", type: "button", hidden: true, onclick: () => running?.abort() }, icon("stop"), "Stop");
  const look = h("button", { class: "button", type: "button", onclick: foresee }, "Explain");
  const answer = h("div", { class: "answer", "aria-label": "Answer", role: "region", tabindex: "0" }, empty("No answer yet", "Choose a model, write a message, and send it."));
  const beside = h("div", { class: "beside-answer" });
  let running = null;

  key.control.addEventListener("change", () => {
    keepKey(key.value());
    suggest();
  });
  signal.addEventListener("abort", () => running?.abort());
  suggest();

  const form = h(
    "form",
    { class: "card card-body playground-form", onsubmit: submit, "aria-label": "Call" },
    h("div", { class: "fields" }, key.element, model.element),
    system.element,
    user.element,
    h("div", { class: "fields" }, temperature.element, most.element),
    h("div", { class: "page-tools" }, stream.element, fresh.element),
    h("div", { class: "page-tools" }, go, stop, look),
  );
  return h("div", { class: "columns" }, h("div", { class: "stack" }, form, card("Answer", {}, answer)), beside);

  async function suggest() {
    if (!key.value()) return;
    try {
      const found = await models(key.value());
      model.control.list.replaceChildren(...found.map(({ id }) => h("option", { value: id })));
      if (!model.value() && found.length && document.activeElement !== model.control) model.control.value = found[0].id;
    } catch {
      // The call itself says what is wrong with the key.
    }
  }

  function asked() {
    keepKey(key.value());
    sessionStorage.setItem(MODEL, model.value());
    const messages = [system.value() && { role: "system", content: system.value() }, { role: "user", content: user.value() }].filter(Boolean);
    const given = { temperature: temperature.value(), max_tokens: most.value() };
    const said = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null));
    return { key: key.value(), fresh: fresh.value(), body: { model: model.value(), messages, ...said, ...(stream.value() && { stream: true }) } };
  }

  async function submit(event) {
    event.preventDefault();
    running?.abort();
    running = new AbortController();
    const mine = running;
    const reply = h("div", { class: "reply" });
    put(answer, reply);
    put(beside, card("Trace", {}, loading()));
    busy(true);
    try {
      const call = await send(asked(), (piece) => reply.append(piece), mine.signal);
      if (!reply.hasChildNodes()) put(reply, h("span", { class: "muted" }, "The answer has no text."));
      say("The answer is complete");
      await showTrace(call);
    } catch (error) {
      if (error.name === "AbortError") reply.append(h("p", { class: "note warn" }, "Stopped."));
      else reply.append(h("p", { class: "note bad", role: "alert" }, error.message));
      await showTrace(error.callId ?? mine.callId ?? null);
    } finally {
      if (running === mine) busy(false);
    }
  }

  function busy(on) {
    go.disabled = on;
    stop.hidden = !on;
    answer.setAttribute("aria-busy", String(on));
  }

  /** The row of a call is written a moment after its end. */
  async function showTrace(id) {
    if (!id) {
      put(beside, card("Trace", {}, empty("No trace", "The call did not get as far as the ledger.")));
      return;
    }
    for (let tries = 0; tries < ROW_TRIES && !signal.aborted; tries += 1) {
      try {
        const found = await get(`/calls/${id}`, {}, signal);
        if (found.call !== null) {
          put(beside, h("div", { class: "panel stack" }, callView(found, id)));
          return;
        }
      } catch (error) {
        if (error.name === "AbortError") return;
        if (error.status !== 404) {
          put(beside, card("Trace", {}, failed(error, () => showTrace(id))));
          return;
        }
      }
      await new Promise((done) => setTimeout(done, ROW_WAIT_MS));
    }
    put(beside, card("Trace", {}, empty("No trace", "The ledger has no row of this call. Calls without a key that works have none.")));
  }

  async function foresee() {
    put(beside, card("Explanation", {}, loading()));
    try {
      put(beside, explained(await explain(asked())));
    } catch (error) {
      put(beside, card("Explanation", {}, failed(error, foresee)));
    }
  }
}
