// Keeps the status page current, and starts sweeps. Without it the page is whole, but stands still.
"use strict";

const EVERY = 2000, PATIENCE = 8000, FINISHED = 120000;
const at = (id) => document.getElementById(id);
const pause = at("pause"), lost = at("lost"), result = at("result");
let timer = 0, lastSeen = at("clock").textContent;

/* ---- live updates: every part with data-live is replaced when it says something else ---- */

async function refresh() {
  const answer = await fetch("/", { headers: { Accept: "text/html" }, signal: AbortSignal.timeout(PATIENCE) });
  if (!answer.ok) throw new Error(String(answer.status));
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const other = fresh.getElementById(part.id);
    if (!other || part.innerHTML === other.innerHTML) continue;
    const held = part.contains(document.activeElement) && document.activeElement.getAttribute("href");
    part.replaceChildren(...other.childNodes);
    if (held) part.querySelector(`a[href="${CSS.escape(held)}"]`)?.focus({ preventScroll: true });
    if (part.matches("dd")) highlight(part);
  }
  markBusy();
  document.title = fresh.title;
  lastSeen = at("clock").textContent;
}

/** A run that is under way, whoever started it, cannot be started. */
function markBusy() {
  for (const button of document.querySelectorAll("[data-run]")) {
    if (button.dataset.asked) continue;
    if (at(button.dataset.busy).querySelector(".busy")) button.setAttribute("aria-disabled", "true");
    else button.removeAttribute("aria-disabled");
  }
}

function highlight(part) {
  if (/[\d.]+ s\b/.test(part.textContent)) return; // lags change at every look
  part.classList.remove("fresh");
  requestAnimationFrame(() => part.classList.add("fresh"));
}

function say(element, sentence) {
  if (element.textContent !== sentence) element.textContent = sentence;
  element.hidden = element === lost && !sentence;
}

async function tick() {
  clearTimeout(timer);
  try {
    await refresh();
    say(lost, "");
  } catch {
    say(lost, `The connection is lost since ${lastSeen}, so this may be old. Trying again.`);
  }
  if (isLive()) timer = setTimeout(tick, EVERY);
}

const isLive = () => !document.hidden && pause.getAttribute("aria-pressed") === "false";

document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (isLive()) tick();
});

pause.addEventListener("click", () => {
  const paused = pause.getAttribute("aria-pressed") === "false";
  pause.setAttribute("aria-pressed", String(paused));
  clearTimeout(timer);
  if (!paused) tick();
});
pause.hidden = false;
timer = setTimeout(tick, EVERY);

/* ---- run a sweep: the token is asked for once and stays in this tab ---- */

for (const button of document.querySelectorAll("[data-run]")) {
  button.hidden = false;
  button.addEventListener("click", () => start(button));
}
markBusy();

async function start(button) {
  if (button.getAttribute("aria-disabled") === "true") return;
  const name = button.dataset.run, title = button.dataset.title;
  const given = await knownToken(`Run “${title}”`);
  if (!given) return;
  button.dataset.asked = "yes";
  button.setAttribute("aria-disabled", "true");
  say(result, `${title} is running …`);
  try {
    say(result, await run(name, title, given));
    await tick();
  } catch {
    say(result, `${title}: the server did not answer.`);
  } finally {
    delete button.dataset.asked;
    markBusy();
  }
}

/** What came of it, in a sentence. */
async function run(name, title, given) {
  const [answer, found] = await post(`/v1/sweeps/${name}`, given, FINISHED);
  if (answer.status === 401) return "That token is wrong. Press “Run now” to enter another.";
  if (answer.status === 202) return `${title} is under way; its row here tells how it ends.`;
  if (found.outcome === undefined) return `${title}: ${found.detail || answer.status}`;
  if (found.outcome !== "ok") return `${title} ended as ${found.outcome}${found.error ? `: ${found.error}` : ""}.`;
  const repaired = found.repaired ? `${found.repaired} repaired` : "nothing to repair";
  return `${title} is done: ${found.checked} checked, ${repaired}.`;
}
