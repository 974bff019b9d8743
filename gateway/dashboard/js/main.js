// The start: who is there, and which page do they want?

import { get, whenSignedOut } from "./api.js";
import { follow, page } from "./address.js";
import { closeDialogs } from "./dialog.js";
import { frame, mark } from "./frame.js";
import { put } from "./dom.js";
import { maybeSignedIn, remember, signIn } from "./signin.js";
import { failed } from "./states.js";

const app = document.getElementById("app");
let shown = null; // the frame, while somebody is signed in
let leave = () => {};
let turn = 0;

whenSignedOut(() => askToSignIn());
follow(() => render());
await begin();

async function begin() {
  if (!maybeSignedIn()) {
    askToSignIn();
    return;
  }
  let me;
  try {
    me = await get("/me");
  } catch (error) {
    if (error.status !== 401) put(app, failed(error, begin)); // else `askToSignIn` was called
    return;
  }
  shown = frame(me, () => askToSignIn());
  put(app, shown.element);
  await render();
}

function askToSignIn() {
  remember(0);
  if (shown === null && app.querySelector("form")) return;
  closeDialogs();
  leave();
  leave = () => {};
  turn += 1;
  shown = null;
  document.title = "Sign in · Sluice";
  const form = signIn(begin);
  put(app, form);
  form.querySelector("#admin-key").focus();
}

async function render() {
  if (shown === null) return;
  const now = (turn += 1);
  closeDialogs();
  leave();
  leave = () => {};
  const name = page();
  mark(shown, name);
  const aborter = new AbortController();
  leave = () => aborter.abort();
  try {
    const { show } = await import(`./pages/${name}.js`);
    if (now === turn) await show(shown.main, aborter.signal);
  } catch (error) {
    if (now === turn && error.name !== "AbortError") put(shown.main, failed(error, render));
  }
}
