// The token that writing takes: asked for once, kept in this tab.
"use strict";

const KEY = "leadstream token";

/** The token, or "" where nobody gave one. */
async function knownToken(title) {
  return sessionStorage.getItem(KEY) || (await askForToken(title));
}

/** Keeps a token that was right; "" forgets it. */
function keepToken(given) {
  if (given) sessionStorage.setItem(KEY, given);
  else sessionStorage.removeItem(KEY);
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
