"use strict";
// Copy, time zone, theme, printing, refresh on request, answers as they are told. Every page works without this file.
{
  const REFRESH_SECONDS = 30;
  const THEMES = ["auto", "light", "dark"];
  const root = document.documentElement;
  const recall = (store, key) => { try { return store.getItem(key); } catch { return null; } };
  const remember = (store, key, value) => { try { store.setItem(key, value); } catch { /* storage is off: not remembered */ } };
  const theme = () => (THEMES.includes(recall(localStorage, "theme")) ? recall(localStorage, "theme") : "auto");

  // Before the first paint. The key "theme" and the attribute are those of Django's admin, so both follow one switch.
  root.dataset.theme = theme();
  root.classList.add("js");

  document.addEventListener("DOMContentLoaded", () => {
    const each = (selector, act) => document.querySelectorAll(selector).forEach(act);
    const on = (event, selector, act) => each(selector, (element) => element.addEventListener(event, () => act(element)));
    const say = (text) => {
      const said = document.querySelector("[data-said]");
      said.textContent = text;
      setTimeout(() => { if (said.textContent === text) said.textContent = ""; }, 4000);
    };

    // Theme
    const showTheme = () => each("[data-theme-switch]", (button) => { button.textContent = `Theme: ${theme()}`; });
    on("click", "[data-theme-switch]", () => {
      root.dataset.theme = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];
      remember(localStorage, "theme", root.dataset.theme);
      showTheme();
    });
    showTheme();

    // Times: the age stays true while the page is open, by the server's clock; the clock in UTC or local time
    const skew = Date.now() - Date.parse(root.dataset.now);
    const two = (number) => String(Math.trunc(number)).padStart(2, "0");
    const local = () => recall(localStorage, "zone") === "local";
    const span = (seconds) => {
      const [unit, size] = seconds >= 172800 ? ["d", 86400] : seconds >= 7200 ? ["h", 3600] : seconds >= 60 ? ["min", 60] : ["s", 1];
      return `${Math.floor(seconds / size)} ${unit}`;
    };
    const age = (seconds) => (Math.abs(seconds) < 5 ? "now" : seconds > 0 ? `${span(seconds)} ago` : `in ${span(-seconds)}`);
    const parts = (moment) => { // as if UTC, moved by the zone's offset, so that both zones are written by one rule
      const minutes = local() ? -moment.getTimezoneOffset() : 0;
      const [day, time] = new Date(moment.getTime() + minutes * 60000).toISOString().slice(0, 19).split("T");
      return [day, time, local() ? `${minutes < 0 ? "-" : "+"}${two(Math.abs(minutes) / 60)}:${two(Math.abs(minutes) % 60)}` : "Z"];
    };
    const showTimes = () => {
      const now = new Date(Date.now() - skew);
      each("time", (time) => {
        const [day, clock, zone] = parts(new Date(time.dateTime));
        time.querySelector(".ago").textContent = age((now - new Date(time.dateTime)) / 1000);
        time.querySelector(".clock").textContent = `${day === parts(now)[0] ? "" : `${day} `}${clock}${zone}`;
      });
      each("[data-zone]", (button) => { button.textContent = `Times: ${local() ? "local" : "UTC"}`; });
    };
    on("click", "[data-zone]", () => { remember(localStorage, "zone", local() ? "utc" : "local"); showTimes(); });
    showTimes();
    setInterval(showTimes, 10000);

    // Copy: navigator.clipboard exists on HTTPS and localhost only; on plain HTTP the text is selected and the selection copied
    const copySelected = (text) => {
      const area = document.createElement("textarea");
      area.value = text;
      area.className = "visually-hidden";
      document.body.append(area);
      area.select();
      const copied = document.execCommand("copy");
      area.remove();
      return copied;
    };
    const copy = async (text, button) => {
      const copied = await Promise.resolve(navigator.clipboard).then((clipboard) => clipboard.writeText(text)).then(() => true, () => copySelected(text));
      button.focus();
      say(copied ? "Copied." : "This browser does not copy here: select the text and press Ctrl+C.");
    };
    on("click", "[data-copy]", (button) => copy(button.dataset.copy, button));
    on("click", "[data-copy-from]", (button) => copy(document.getElementById(button.dataset.copyFrom).textContent, button));

    // Print closed details too
    on("click", "[data-print]", () => window.print());
    addEventListener("beforeprint", () => each("details:not([open])", (details) => { details.open = true; details.dataset.closed = ""; }));
    addEventListener("afterprint", () => each("details[data-closed]", (details) => { details.open = false; delete details.dataset.closed; }));

    // Answers as they are told: the form's own address gives them line by line; each frame fills the template of its type
    const fill = (template, frame) => {
      const made = template.content.cloneNode(true);
      made.querySelectorAll("[data-slot]").forEach((slot) => {
        const value = frame[slot.dataset.slot];
        slot.textContent = Array.isArray(value) ? value.join(", ") : value ?? "";
      });
      template.before(made);
    };
    const show = (answer, frame) => {
      const text = answer.querySelector("[data-text]");
      const into = answer.querySelector(`[data-into="${CSS.escape(frame.type)}"]`);
      if (text && frame.type === "delta") text.textContent += frame.text;
      if (text && frame.type === "reset") text.textContent = "";
      if (frame.type === "error") complain(frame.detail);
      if (frame.type === "done") {
        answer.querySelector("[data-done]").hidden = false;
        answer.querySelectorAll("[data-path]").forEach((path) => { path.hidden = path.dataset.path !== frame.path; });
        answer.querySelector("[data-reason]").textContent = frame.reason;
        answer.querySelector("[data-busy]").hidden = frame.reason !== "busy";
        say("The answer is complete.");
      }
      if (into) {
        (frame.sentences || [frame]).forEach((item) => fill(into.querySelector("template"), item));
        answer.querySelectorAll(`[data-part="${CSS.escape(frame.type)}"]`).forEach((part) => { part.hidden = false; });
      }
    };
    const complain = (problem) => {
      const place = document.querySelector("[data-problem]");
      place.textContent = problem;
      place.hidden = !problem;
    };
    const tell = async (form, answer) => {
      const response = await fetch(form.action, { method: "POST", body: new FormData(form), headers: { Accept: "application/x-ndjson" } });
      if (!response.ok || !response.headers.get("Content-Type").includes("ndjson")) {
        const signedOut = response.redirected || response.status === 403;
        const otherwise = signedOut ? "you are no longer signed in here. Copy what you pasted, reload the page and sign in." : `The server answered ${response.status}.`;
        const refusal = await response.json().catch(() => ({ detail: otherwise }));
        throw new Error(refusal.detail);
      }
      answer.querySelectorAll("[data-made]").forEach((made) => made.remove());
      answer.querySelectorAll("[data-part], [data-done], [data-busy]").forEach((part) => { part.hidden = true; });
      answer.querySelectorAll("[data-text]").forEach((text) => { text.textContent = ""; });
      answer.hidden = false;
      answer.querySelector("h2").focus();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = "", part = await reader.read(); !part.done; part = await reader.read()) {
        const lines = (rest + part.value).split("\n");
        rest = lines.pop();
        lines.forEach((line) => show(answer, JSON.parse(line)));
      }
    };
    const showWaiting = (waiting) => each("[data-waiting]", (note) => { note.hidden = !waiting; });
    each("[data-told]", (form) => form.addEventListener("submit", async (event) => {
      const answer = document.querySelector("[data-answer]");
      const button = form.querySelector("button");
      event.preventDefault();
      if (form.ariaBusy === "true") return;
      form.ariaBusy = answer.ariaBusy = "true";
      button.setAttribute("aria-disabled", "true");
      showWaiting(true);
      complain("");
      await tell(form, answer).catch((error) => complain(`Not answered: ${error.message}`));
      form.ariaBusy = answer.ariaBusy = "false";
      button.removeAttribute("aria-disabled");
      showWaiting(false);
    }));

    // A form that brings a page of its own says that it was sent, until that page is there
    each("[data-asked]", (form) => form.addEventListener("submit", () => showWaiting(true)));
    addEventListener("pageshow", () => showWaiting(false)); // back in the browser's history

    // Refresh on request: not in a hidden tab, not while something is typed; what is open stays open
    const opened = `opened ${location.pathname}`;
    (recall(sessionStorage, opened) || "").split(" ").filter(Boolean).forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
    remember(sessionStorage, opened, "");
    const refreshing = () => recall(sessionStorage, "refresh") === "on";
    const busy = () => document.hidden || document.querySelector("[type=file]")?.value || document.activeElement?.matches("input:not([type=checkbox]), select");
    each("[data-refresh]", (box) => {
      box.checked = refreshing();
      box.addEventListener("change", () => remember(sessionStorage, "refresh", box.checked ? "on" : "off"));
      setInterval(() => {
        if (!refreshing() || busy()) return;
        remember(sessionStorage, opened, [...document.querySelectorAll("details[open][id]")].map((details) => details.id).join(" "));
        location.reload();
      }, REFRESH_SECONDS * 1000);
    });
  });
}
