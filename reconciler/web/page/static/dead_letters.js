// Resolves dead letters. Without it the page is whole.
"use strict";

const result = document.getElementById("result");

for (const button of document.querySelectorAll("[data-letter]")) {
  button.hidden = false;
  button.addEventListener("click", () => resolveLetter(button));
}

async function resolveLetter(button) {
  const number = button.dataset.letter, action = button.dataset.do;
  const given = await knownToken(`${button.textContent} dead letter ${number}`);
  if (!given) return;
  try {
    const [answer, found] = await post(`/v1/dead-letters/${number}/${action}`, given, 8000);
    if (answer.ok) {
      document.getElementById(`letter-${number}`).remove();
      result.textContent = action === "retry" ? `Dead letter ${number} is resolved; its customer is read live within a minute.` : `Dead letter ${number} is discarded.`;
    } else if (answer.status === 401) result.textContent = "That token is wrong. Try again to enter another.";
    else result.textContent = found.detail || String(answer.status);
  } catch {
    result.textContent = "The server did not answer.";
  }
}
