// Live updates: a visible page fetches itself every few seconds and replaces its content. Every page works
// without this script.
"use strict";

(() => {
  const main = document.getElementById("main");
  const read = document.getElementById("read");
  const stale = document.getElementById("stale");
  const button = document.getElementById("live");
  const period = Number(main.dataset.refresh) * 1000;
  const LONGEST_PERIOD = 60000;
  let paused = false;
  let failures = 0;
  let ahead = databaseAhead();

  // How far the database's clock is ahead of the browser's. "3 min ago" is by the database's clock.
  function databaseAhead() {
    const at = read.querySelector("time");
    return at ? Date.parse(at.dateTime) - Date.now() : 0;
  }

  function length(seconds) {
    const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
    const largest = units.findIndex(([unit]) => seconds >= unit);
    const parts = [];
    for (const [unit, name] of units.slice(largest, largest + 2)) {
      const count = Math.floor(seconds / unit);
      if (count > 0) parts.push(`${count} ${name}`);
      seconds %= unit;
    }
    return parts.join(" ");
  }

  function hint(at) {
    const seconds = Math.trunc((at - Date.now() - ahead) / 1000);
    if (seconds === 0) return "now";
    return seconds < 0 ? `${length(-seconds)} ago` : `in ${length(seconds)}`;
  }

  function tick() {
    if (document.hidden || paused) return;
    for (const ago of main.querySelectorAll("[data-at]")) {
      const at = Date.parse(ago.dataset.at);
      const words = hint(at);
      if (ago.textContent !== words) ago.textContent = words;
    }
  }

  // An update would lose the user's focus or selection inside the content.
  function inUse() {
    const focused = document.activeElement;
    const selection = document.getSelection();
    return (focused !== main && main.contains(focused))
      || (selection && !selection.isCollapsed && main.contains(selection.anchorNode));
  }

  function replaceContent(fresh) {
    const open = [...main.querySelectorAll("details")].map((details) => details.open);
    const scrolled = [...main.querySelectorAll(".table")].map((table) => table.scrollLeft);
    main.replaceChildren(...fresh.getElementById("main").childNodes);
    read.replaceChildren(...fresh.getElementById("read").childNodes);
    document.title = fresh.title;
    main.querySelectorAll("details").forEach((details, nth) => {
      if (open[nth] !== undefined) details.open = open[nth];
    });
    main.querySelectorAll(".table").forEach((table, nth) => { table.scrollLeft = scrolled[nth] || 0; });
    ahead = databaseAhead();
  }

  async function update() {
    if (!paused && !document.hidden && !inUse()) {
      try {
        const answer = await fetch(location.href, { cache: "no-store", credentials: "same-origin" });
        if (!answer.ok) throw new Error(`the console answered ${answer.status}`);
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        if (!fresh.getElementById("main")) throw new Error("the answer is not a page of the console");
        if (!paused && !inUse()) replaceContent(fresh);
        failures = 0;
        stale.textContent = "";
      } catch (error) {
        failures += 1;
        stale.textContent = `Not updated: ${error.message}. Trying again.`;
      }
    }
    setTimeout(update, Math.min(period * 2 ** failures, LONGEST_PERIOD));
  }

  if (period > 0) {
    button.hidden = false;
    button.addEventListener("click", () => {
      paused = !paused;
      button.setAttribute("aria-pressed", String(paused));
      button.textContent = paused ? "Resume updates" : "Pause updates";
    });
    setInterval(tick, 1000);
    setTimeout(update, period);
  }
})();
