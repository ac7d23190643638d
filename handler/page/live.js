// Keeps the page up to date: it listens for changes and fetches the page again. Without
// this script, the page reloads every 15 seconds.
"use strict";
(() => {
  const status = document.getElementById("freshness");
  let fetching = false, refreshAgain = false, last = new Date();

  const showStatus = (text, late) => {
    status.textContent = text;
    status.classList.toggle("late", late);
  };
  const clock = (date) => date.toISOString().slice(11, 19) + " UTC";

  // Only parts that differ are replaced, so that focus and selection stay.
  const update = (page) => {
    for (const part of document.querySelectorAll("[data-live]")) {
      const fresh = page.getElementById(part.id);
      if (fresh && fresh.outerHTML !== part.outerHTML) {
        const focused = part.contains(document.activeElement) && document.activeElement.getAttribute("href");
        part.replaceWith(document.importNode(fresh, true));
        if (focused) {
          const anchor = document.getElementById(fresh.id).querySelector(`a[href="${CSS.escape(focused)}"]`);
          if (anchor) anchor.focus({ preventScroll: true });
        }
      }
    }
  };

  const refresh = async () => {
    if (fetching) { refreshAgain = true; return; }
    fetching = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
      if (!answer.ok) throw new Error(answer.status);
      update(new DOMParser().parseFromString(await answer.text(), "text/html"));
      last = new Date();
      showStatus("live, as of " + clock(last), false);
    } catch {
      showStatus("NOT up to date: backout has not answered since " + clock(last), true);
    }
    fetching = false;
    if (refreshAgain) { refreshAgain = false; refresh(); }
  };

  const listen = () => {
    const events = new EventSource("/live");
    events.addEventListener("change", refresh);
    events.addEventListener("open", refresh);
    events.addEventListener("error", () => {
      // The server refused the stream: too many pages are open. Polling goes on.
      if (events.readyState === EventSource.CLOSED) setTimeout(listen, 30000);
    });
  };
  listen();
  setInterval(refresh, 10000);
})();
