// Signing in: is this the operator?

import { post } from "./api.js";
import { h, put } from "./dom.js";

const NAME = "sluice.session-until";

/** Is there any chance of a session? The cookie itself is kept from scripts. */
export function maybeSignedIn() {
  return Number(stored().getItem(NAME) ?? 0) > Date.now();
}

/** Signed in until then; 0 is signed out. */
export function remember(untilMs) {
  stored().setItem(NAME, String(untilMs));
}

/** Where storage is switched off, a session lasts until the page is loaded anew. */
function stored() {
  try {
    return localStorage;
  } catch {
    return { getItem: () => null, setItem: () => {} };
  }
}

/** The form; `done` is called once there is a session. */
export function signIn(done) {
  const key = h("input", {
    class: "input", id: "admin-key", name: "admin-key", type: "password", required: true,
    autocomplete: "current-password", spellcheck: "false", "aria-describedby": "sign-in-fault",
  });
  const fault = h("p", { id: "sign-in-fault", class: "fault", role: "alert" });
  const button = h("button", { class: "button primary", type: "submit" }, "Sign in");

  async function submit(event) {
    event.preventDefault();
    button.disabled = true;
    put(fault);
    try {
      const { expires_at_ms: until } = await post("/session", { admin_key: key.value.trim() });
      remember(until);
      await done();
    } catch (error) {
      put(fault, error.status === 401 ? "This is not the admin key." : error.message);
      key.setAttribute("aria-invalid", "true");
      button.disabled = false;
      key.focus();
      key.select();
    }
  }

  return h(
    "main",
    { class: "sign-in", id: "main" },
    h(
      "form",
      { class: "card", onsubmit: submit },
      h("img", { src: "/dashboard/files/icon.svg", alt: "", width: 44, height: 44 }),
      h("h1", {}, "Sign in to Sluice"),
      // Password managers keep a name beside a secret.
      h("input", { type: "text", name: "username", value: "admin", autocomplete: "username", hidden: true, readonly: true }),
      h("div", { class: "field" }, h("label", { for: "admin-key" }, "Admin key"), key, fault),
      button,
      h("p", { class: "hint" }, "It was printed at the first start, or written to data/first-keys. ", h("code", {}, "sluice admin-key reset"), " makes a new one."),
    ),
  );
}
