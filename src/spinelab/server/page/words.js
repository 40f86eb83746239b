// How opinions are said.
export const GRADES = ["normal", "mild", "moderate", "severe"];
const LETTERS = { wedge: "W", biconcave: "B", crush: "C" };

export function tell(opinion) {
  if (!opinion || opinion.evaluable === null) return "not graded yet";
  if (opinion.evaluable === false) return "not evaluable";
  if (opinion.grade === null) return "not graded yet";
  return opinion.grade === 0 ? "normal" : `${GRADES[opinion.grade]} ${opinion.shape ?? "(shape?)"}`;
}

/** Short form for the strip: text and the class of its colour; null before anything was said. */
export function abbreviate(opinion) {
  if (!opinion || opinion.evaluable === null) return null;
  if (opinion.evaluable === false) return { text: "n", kind: "gn" };
  if (opinion.grade === null) return null;
  const shape = opinion.grade ? (LETTERS[opinion.shape] ?? "?") : "";
  return { text: `${opinion.grade}${shape && ` ${shape}`}`, kind: `g${opinion.grade}` };
}

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}
