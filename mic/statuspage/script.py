"""The script of the page: it refreshes, sorts and filters without a reload.

It asks for the same page as a browser without scripts would, and takes the parts that may have
changed from the answer. Nothing is made of texts in it.
"""

from __future__ import annotations

from typing import Final

SCRIPT: Final = """
(() => {
  "use strict";
  const SECONDS = 5;
  const form = document.querySelector("form");
  const auto = document.getElementById("auto");
  const stale = document.getElementById("stale");
  let number = 0, failures = 0, timer = 0, typing = 0;

  function later() {
    clearTimeout(timer);
    const wait = Math.min(SECONDS * 2 ** failures, 60);
    timer = setTimeout(tick, wait * 1000);
  }

  function tick() {
    const selected = document.getSelection();
    // A text that is being selected would be lost.
    if (document.hidden || !auto.checked || (selected && !selected.isCollapsed)) later();
    else refresh();
  }

  async function refresh() {
    const mine = ++number;
    clearTimeout(timer);
    try {
      const answer = await fetch(location.href, {
        cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(20000),
      });
      const text = await answer.text();
      if (mine !== number) return;
      if (!answer.ok) throw new Error(String(answer.status));
      show(new DOMParser().parseFromString(text, "text/html"));
      failures = 0;
      stale.hidden = true;
    } catch (error) {
      if (mine !== number) return;
      failures += 1;
      stale.hidden = false;
    }
    later();
  }

  function show(fresh) {
    const focused = document.activeElement ? document.activeElement.id : "";
    const open = new Set([...document.querySelectorAll("details[open]")].map((each) => each.id));
    for (const part of fresh.querySelectorAll("[data-live]")) {
      const old = document.getElementById(part.id);
      for (const each of part.querySelectorAll("details")) each.open = open.has(each.id);
      if (old && old.innerHTML !== part.innerHTML) {
        old.replaceChildren(...document.adoptNode(part).childNodes);
      }
    }
    document.title = fresh.title;
    const again = focused && document.getElementById(focused);
    if (again && again !== document.activeElement) again.focus({ preventScroll: true });
  }

  function fields() {
    const given = new URLSearchParams(location.search);
    for (const field of form.elements) {
      if (field.name) field.value = given.get(field.name) || field.dataset.empty || "";
    }
  }

  function filter() {
    clearTimeout(typing);
    const given = new URLSearchParams();
    for (const [name, value] of new FormData(form)) {
      const field = form.elements[name];
      if (value && value !== field.dataset.empty) given.set(name, value);
    }
    history.replaceState(null, "", "?" + given);
    refresh();
  }

  form.addEventListener("input", (event) => {
    clearTimeout(typing);
    if (event.target.name) typing = setTimeout(filter, 250);
  });
  form.addEventListener("submit", (event) => { event.preventDefault(); filter(); });
  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest("a[data-here]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    history.pushState(null, "", link.getAttribute("href"));
    fields();
    refresh();
  });
  addEventListener("popstate", () => { fields(); refresh(); });
  document.addEventListener("visibilitychange", tick);
  for (const each of document.querySelectorAll("[data-script]")) each.hidden = false;
  later();
})();
"""
