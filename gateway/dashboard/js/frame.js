// The frame around every page: where can one go from here?

import { remove } from "./api.js";
import { link } from "./address.js";
import { h, icon, put } from "./dom.js";
import { theme } from "./theme.js";
import { say, toast } from "./notices.js";
import { keepKey } from "./playground/key.js";

const PAGES = [
  ["overview", "Overview"],
  ["calls", "Calls"],
  ["keys", "Keys & teams"],
  ["providers", "Providers"],
  ["cache", "Cache"],
  ["playground", "Playground"],
  ["audit", "Audit"],
  ["status", "Status"],
];

/** The frame; pages are put into its `main`. */
export function frame(me, signedOut) {
  const main = h("main", { id: "main", tabindex: "-1" });
  const links = PAGES.map(([name, title]) => h("a", { href: link(name), "data-page": name }, icon(name), title));
  const menu = h("button", { class: "button quiet icon-only menu", "aria-label": "Menu", "aria-expanded": "false", onclick: toggle }, icon("menu"));
  const side = h(
    "header",
    { class: "side" },
    h("a", { class: "brand", href: link("overview") }, h("img", { src: "/dashboard/files/icon.svg", alt: "", width: 26, height: 26 }), "Sluice"),
    menu,
    h("nav", { class: "nav", "aria-label": "Pages" }, links),
    h("div", { class: "side-foot" }, themeButton(), leaveButton(signedOut), h("div", { class: "version" }, `Version ${me.version}`)),
  );

  function toggle() {
    const open = side.classList.toggle("open");
    menu.setAttribute("aria-expanded", String(open));
  }

  return { element: h("div", { class: "frame" }, side, main), main, links, side, menu };
}

/** Show which page is open; keyboards and screen readers start at it. */
export function mark(shown, name) {
  const title = PAGES.find(([page]) => page === name)?.[1] ?? "Not found";
  const moved = document.title !== `${title} · Sluice`;
  document.title = `${title} · Sluice`;
  for (const anchor of shown.links) {
    if (anchor.dataset.page === name) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
  shown.side.classList.remove("open");
  shown.menu.setAttribute("aria-expanded", "false");
  if (moved) {
    window.scrollTo(0, 0);
    shown.main.focus({ preventScroll: true });
    say(title);
  }
}

function themeButton() {
  const label = h("span", {}, theme.title());
  const button = h("button", { type: "button", onclick: next }, icon("theme"), label);

  function next() {
    theme.next();
    put(label, theme.title());
  }

  return button;
}

function leaveButton(signedOut) {
  async function leave() {
    try {
      await remove("/session");
      keepKey("");
      signedOut();
    } catch (error) {
      toast(error.message, true);
    }
  }

  return h("button", { type: "button", onclick: leave }, icon("leave"), "Sign out");
}
