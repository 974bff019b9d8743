// Notices: what has just happened? Seen for a moment, and read out by screen readers.

import { h } from "./dom.js";

const SHOWN_MS = 4500;

/** Read out only. */
export function say(text) {
  document.getElementById("said").textContent = text;
}

/** Shown and read out; above dialogs too. */
export function toast(text, bad = false) {
  const box = document.getElementById("toasts");
  const notice = h("div", { class: bad ? "toast bad" : "toast" }, text);
  box.append(notice);
  box.setAttribute("popover", "manual");
  if (box.matches(":popover-open")) box.hidePopover();
  box.showPopover();
  say(text);
  setTimeout(() => {
    notice.remove();
    if (!box.children.length && box.matches(":popover-open")) box.hidePopover();
  }, SHOWN_MS);
}

/** Put a text on the clipboard, and say so. Without a secure context that needs the old way. */
export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h("textarea", { class: "unseen", value: text });
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  toast(`${what} copied`);
}
