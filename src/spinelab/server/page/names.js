// Naming the whole column in one action, with a preview of what every vertebra will be called.
import { make } from "./words.js";

export class NamesBox {
  #case = null;
  #vertebra = null;

  constructor(onNames) {
    this.onNames = onNames;
    this.box = document.getElementById("names-box");
    this.level = document.getElementById("names-level");
    this.variant = document.getElementById("names-variant");
    this.preview = document.getElementById("names-preview");
    this.level.addEventListener("change", () => this.#show());
    this.variant.addEventListener("change", () => { this.#offerLevels(this.level.value); this.#show(); });
    document.getElementById("names-up").addEventListener("click", () => this.#shift(-1));
    document.getElementById("names-down").addEventListener("click", () => this.#shift(1));
    this.box.addEventListener("close", () => {
      if (this.box.returnValue === "apply") this.onNames(this.#vertebra.id, this.level.value, this.variant.value);
    });
  }

  open(shown, vertebra) {
    this.#case = shown;
    this.#vertebra = vertebra;
    const numbering = shown.numbering.statement ? ` ${shown.numbering.statement}` : "";
    document.getElementById("names-now").textContent = `Now ${shown.names[vertebra.id]}.${numbering}`;
    this.variant.value = shown.variant;
    this.#offerLevels(shown.names[vertebra.id]);
    this.#show();
    this.box.returnValue = "";
    this.box.showModal();
    this.level.focus();
  }

  #column(name) {
    const order = this.#case.variants[this.variant.value];
    const place = this.#case.vertebrae.findIndex((v) => v.id === this.#vertebra.id);
    const start = order.indexOf(name) - place;
    const count = this.#case.vertebrae.length;
    return order.includes(name) && start >= 0 && start + count <= order.length ? order.slice(start, start + count) : null;
  }

  #offerLevels(chosen) {
    const possible = this.#case.variants[this.variant.value].filter((name) => this.#column(name));
    this.level.replaceChildren(...possible.map((name) => make("option", {}, name)));
    this.level.value = possible.includes(chosen) ? chosen : possible[0];
  }

  #shift(by) {
    const next = this.level.selectedIndex + by;
    if (next >= 0 && next < this.level.options.length) this.level.selectedIndex = next;
    this.#show();
  }

  #show() {
    document.getElementById("names-up").disabled = this.level.selectedIndex <= 0;
    document.getElementById("names-down").disabled = this.level.selectedIndex >= this.level.options.length - 1;
    const names = this.#column(this.level.value) ?? [];
    const place = this.#case.vertebrae.findIndex((v) => v.id === this.#vertebra.id);
    const words = names.flatMap((name, n) => [n === place ? make("b", {}, name) : name, " "]);
    this.preview.replaceChildren("The column: ", ...words);
  }
}
