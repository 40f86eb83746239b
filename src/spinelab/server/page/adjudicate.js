// What the readers said of a vertebra, side by side, for whoever settles it.
import { make, tell } from "./words.js";

/** Opinions of all readers on one vertebra. */
export const opinionsOn = (shown, id) => shown.adjudication.readers.map((reader) => reader.opinions[id] ?? null);

export const isDisputed = (shown, id) => Boolean(shown.adjudication?.disputed.includes(id));

/** The opinion all readers share, or what was settled; null while they differ. */
export function settledOn(shown, id) {
  return shown.adjudication?.settled[id]?.opinion ?? null;
}

/** Whether readers gave the column different names. */
export function namesDiffer(shown) {
  const given = (shown.adjudication?.readers ?? []).map((reader) => JSON.stringify(reader.names));
  return new Set(given).size > 1;
}

export function drawOthers(box, shown, vertebra, onTake) {
  const readers = shown.adjudication?.readers ?? [];
  box.hidden = readers.length === 0;
  if (box.hidden) return;
  const keys = ["[", "]"];
  const rows = readers.map((reader, n) => {
    const opinion = reader.opinions[vertebra.id];
    const take = make("button", { type: "button" }, ...(keys[n] ? [make("kbd", {}, keys[n])] : []), " Take");
    take.addEventListener("click", () => onTake(n));
    const cells = [make("td", {}, reader.label), make("td", {}, make("b", {}, tell(opinion)))];
    if (namesDiffer(shown)) cells.push(make("td", { class: "dim" }, `calls it ${reader.names[vertebra.id]}`));
    cells.push(make("td", {}, ...(shown.open && vertebra.graded && opinion ? [take] : [])));
    return make("tr", {}, ...cells);
  });
  box.replaceChildren(make("table", {}, make("caption", { class: "hidden" }, "What the readers said"), make("tbody", {}, ...rows)));
}
