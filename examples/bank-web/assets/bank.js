// Live balances: a page is told how its accounts are. Without this, pages are as they were made.
"use strict";
(() => {
  const parts = new Map();
  for (const e of document.querySelectorAll("[data-account]")) parts.set(e.dataset.account, e);
  if (parts.size === 0) return;
  const live = document.querySelector("[data-live]");
  const write = (within, name, text) => {
    const e = within.querySelector(name);
    if (!e || e.textContent === text) return;
    e.textContent = text;
    e.classList.remove("new");
    void e.offsetWidth; // so that the colour fades again
    e.classList.add("new");
  };
  const told = (message) => {
    const a = JSON.parse(message.data);
    const e = parts.get(a.id);
    if (!e || a.version < Number(e.dataset.version)) return;
    if (a.version > Number(e.dataset.version)) {
      const news = document.querySelector("[data-news]");
      if (news) news.hidden = false;
    }
    e.dataset.version = a.version;
    write(e, "[data-balance]", a.balance);
    write(e, "[data-in-flight]", a.inFlight);
    write(e, "[data-version-text]", String(a.version));
    const status = e.querySelector("[data-status]");
    status.textContent = status.dataset.status = a.status;
  };
  // A browser has six connections to a server: pages that nobody sees keep none. A stream begins
  // with how the accounts are.
  let stream = null;
  const leave = () => { stream?.close(); stream = null; };
  const look = () => {
    if (document.hidden) return leave();
    if (stream) return;
    stream = new EventSource("/live?" + [...parts.keys()].map((id) => "account=" + encodeURIComponent(id)).join("&"));
    stream.onopen = () => { live.textContent = "live"; };
    stream.onerror = () => { live.textContent = "not live: connecting"; };
    stream.addEventListener("account", told);
  };
  document.addEventListener("visibilitychange", look);
  look();
  addEventListener("pagehide", leave);
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
})();
