// The column as a strip of thumbnails; one stop for the Tab key, arrows move.
import { abbreviate, make, tell } from "./words.js";

export class Strip {
  #buttons = new Map();

  constructor(onChoose) {
    this.list = document.getElementById("strip");
    this.onChoose = onChoose;
  }

  fill(vertebrae, images) {
    const items = vertebrae.map((vertebra) => {
      const picture = make("img", { alt: "", width: 62, height: 51 });
      picture.src = images.get(vertebra.id).src;
      const label = make("span", { class: "label" });
      const button = make("button", { type: "button", tabindex: -1 }, picture, label);
      button.addEventListener("click", () => this.onChoose(vertebra.id));
      this.#buttons.set(vertebra.id, button);
      return make("li", {}, button);
    });
    this.list.replaceChildren(...items);
  }

  /** Writes name and opinion of one vertebra. */
  tell(vertebra, name, { opinion, disputed }) {
    const button = this.#buttons.get(vertebra.id);
    const short = abbreviate(opinion);
    const mark = !vertebra.graded ? make("span", { class: "todo" }, "no grade") : short ? make("span", { class: `grade ${short.kind}` }, short.text) : make("span", { class: "todo" }, disputed ? "differ" : "–");
    button.querySelector(".label").replaceChildren(make("span", {}, name), mark);
    button.classList.toggle("disputed", Boolean(disputed));
    button.setAttribute("aria-label", `${name}, ${vertebra.graded ? tell(opinion) : "has no endplates to grade"}${disputed ? ", readers differ" : ""}`);
  }

  select(id) {
    for (const [other, button] of this.#buttons) {
      const chosen = other === id;
      button.tabIndex = chosen ? 0 : -1;
      if (chosen) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    const button = this.#buttons.get(id);
    if (this.list.contains(document.activeElement)) button.focus({ preventScroll: true });
    button.scrollIntoView({ block: "nearest" });
  }
}
