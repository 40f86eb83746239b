// Keys on the work list: / searches, N takes the next case, arrows or J and K walk the cases.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
  const links = [...document.querySelectorAll("tbody th a")];
  const at = links.indexOf(document.activeElement);
  const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
  if (event.key === "/") document.getElementById("text")?.focus();
  else if (event.key === "n") document.querySelector("[data-key]")?.click();
  else if (step && links.length) links[Math.min(Math.max(at + step, 0), links.length - 1)].focus();
  else return;
  event.preventDefault();
});
