// Keeps the page as it is on the server: it listens for changes and asks for the
// page again. Without it the page is the same, and reloads by itself.
"use strict";
(() => {
  const link = document.getElementById("link");
  let fetching = false, again = false, last = new Date();

  const say = (text, late) => {
    link.textContent = text;
    link.classList.toggle("late", late);
  };
  const clock = (date) => date.toISOString().slice(11, 19) + " UTC";

  // Only what differs is replaced, so that focus and selection stay.
  const show = (page) => {
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
    if (fetching) { again = true; return; }
    fetching = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
      if (!answer.ok) throw new Error(answer.status);
      show(new DOMParser().parseFromString(await answer.text(), "text/html"));
      last = new Date();
      say("live, as of " + clock(last), false);
    } catch {
      say("NOT up to date: backout does not answer since " + clock(last), true);
    }
    fetching = false;
    if (again) { again = false; refresh(); }
  };

  const listen = () => {
    const events = new EventSource("/live");
    events.addEventListener("change", refresh);
    events.addEventListener("open", refresh);
    events.addEventListener("error", () => {
      // Refused for good: too many pages are open. The clock goes on.
      if (events.readyState === EventSource.CLOSED) setTimeout(listen, 30000);
    });
  };
  listen();
  setInterval(refresh, 10000);
})();
