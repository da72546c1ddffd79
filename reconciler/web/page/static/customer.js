// Has one customer read live. Without it the page is whole.
"use strict";

const button = document.getElementById("recheck"), told = document.getElementById("told");

if (button) {
  button.hidden = false;
  button.addEventListener("click", recheck);
}

async function recheck() {
  const given = await knownToken("Read this customer live");
  if (!given) return;
  told.textContent = "Asking …";
  try {
    const [answer, found] = await post(`/v1/leads/${button.dataset.user}/recheck`, given, 8000);
    if (answer.status === 401) told.textContent = "That token is wrong. Press “Read live” to enter another.";
    else if (answer.status === 202) told.textContent = "Queued: the customer is read live within a minute. Load this page again to see what came of it.";
    else told.textContent = found.detail || String(answer.status);
  } catch {
    told.textContent = "The server did not answer.";
  }
}
