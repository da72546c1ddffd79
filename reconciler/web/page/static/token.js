// The token that writing takes: asked for once, kept in this tab.
"use strict";

const KEY = "leadstream token";

/** The token, or "" where nobody gave one. */
async function knownToken(title) {
  return sessionStorage.getItem(KEY) || (await askForToken(title));
}

/** Posts with the token: the answer, and what it says. A token that may do this is kept, any other forgotten. */
async function post(address, given, patience) {
  const answer = await fetch(address, {
    method: "POST",
    headers: { Authorization: `Bearer ${given}` },
    signal: AbortSignal.timeout(patience),
  });
  const found = await answer.json().catch(() => ({}));
  if (answer.status === 401 || answer.status === 403) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, given);
  return [answer, found];
}

function askForToken(title) {
  const ask = document.getElementById("ask"), token = document.getElementById("token");
  document.getElementById("ask-title").textContent = title;
  token.value = "";
  ask.returnValue = "cancel";
  ask.showModal();
  token.focus();
  return new Promise((resolve) => {
    ask.addEventListener("close", () => {
      const given = ask.returnValue === "run" ? token.value.trim() : "";
      token.value = "";
      resolve(given);
    }, { once: true });
  });
}
