// Has one customer read live. Without it the page is whole.
"use strict";

const button = document.getElementById("recheck"), result = document.getElementById("result");

if (button) {
  button.hidden = false;
  button.addEventListener("click", recheck);
}

async function recheck() {
  const given = await knownToken("Read this customer live");
  if (!given) return;
  result.textContent = "Asking …";
  try {
    const [answer, found] = await post(`/v1/leads/${button.dataset.user}/recheck`, given, 8000);
    if (answer.status === 401) result.textContent = "That token is wrong. Press “Read live” to enter another.";
    else if (answer.status === 202) result.textContent = "Queued: the customer is read live within a minute. Load this page again to see what came of it.";
    else result.textContent = found.detail || String(answer.status);
  } catch {
    result.textContent = "The server did not answer.";
  }
}
