// The straightened picture of one vertebra with its outlines and six endplate points.
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 480;
const HEIGHT = 400;
const NAMES = ["anterior top", "middle top", "posterior top", "anterior bottom", "middle bottom", "posterior bottom"];
const STEP_MM = 0.25;

export class Stage {
  #vertebra = null;
  #points = null;
  #outlinesShown = true;
  #pointsShown = false;

  /** @param {(points: number[][]) => void} onPoints called when a point was let go. */
  constructor(onPoints) {
    this.onPoints = onPoints;
    this.picture = document.getElementById("picture");
    this.overlay = document.getElementById("overlay");
    this.caption = document.getElementById("heights");
    this.overlay.addEventListener("pointerdown", (event) => this.#grab(event));
    this.overlay.addEventListener("keydown", (event) => this.#nudge(event));
  }

  show(vertebra, image, name) {
    this.#vertebra = vertebra;
    this.picture.src = image.src;
    this.picture.alt = `Straightened sagittal picture of ${name}`;
    this.#points = null;
    this.#draw();
  }

  get outlinesShown() { return this.#outlinesShown; }
  get pointsShown() { return this.#pointsShown; }

  toggleOutlines() { this.#outlinesShown = !this.#outlinesShown; this.#draw(); }
  togglePoints() { this.#pointsShown = !this.#pointsShown; this.#draw(); }

  /** After the vertebra's opinion has changed elsewhere (undo, say). */
  refresh() { this.#points = null; this.#draw(); }

  #toPixel([posterior, superior]) {
    const [front, back, top, bottom] = this.#vertebra.window_mm;
    return [((posterior - front) / (back - front)) * WIDTH, ((top - superior) / (top - bottom)) * HEIGHT];
  }

  #toMm(event) {
    const box = this.overlay.getBoundingClientRect();
    const [front, back, top, bottom] = this.#vertebra.window_mm;
    const x = (event.clientX - box.left) / box.width;
    const y = (event.clientY - box.top) / box.height;
    return [front + x * (back - front), top - y * (top - bottom)];
  }

  #draw() {
    const parts = [];
    if (this.#outlinesShown) {
      for (const outline of this.#vertebra.outlines) {
        const kind = outline.own ? "outline" : "outline other";
        const d = outline.lines.map((line) => `M${line.map((p) => this.#toPixel(p).map((v) => v.toFixed(1)).join(" ")).join("L")}`).join("");
        parts.push(shape("path", { class: kind, d }));
      }
    }
    this.caption.textContent = "";
    if (this.#pointsShown) {
      this.#points ??= startingPoints(this.#vertebra);
      parts.push(...this.#drawPoints());
      this.#tellHeights();
    }
    this.overlay.replaceChildren(...parts);
  }

  #drawPoints() {
    const open = !document.getElementById("grading").disabled;
    const places = this.#points.map((point) => this.#toPixel(point));
    const lines = [0, 1, 2].map((n) => shape("line", { class: "height-line", x1: places[n][0], y1: places[n][1], x2: places[n + 3][0], y2: places[n + 3][1] }));
    const circles = places.map(([cx, cy], n) => shape("circle", { class: "point", cx, cy, r: 6, "data-point": n, tabindex: open ? 0 : -1, role: "button", "aria-label": `${NAMES[n]} endplate point; arrows move it` }));
    return [...lines, ...circles];
  }

  #tellHeights() {
    const own = this.#vertebra.opinion.points_mm !== null;
    if (!own && !this.#vertebra.suggestion) {
      this.caption.textContent = "Drag the points onto the endplates; heights then show here.";
      return;
    }
    const [anterior, middle, posterior] = heights(this.#points);
    const loss = (value) => `${Math.max(0, Math.round(100 * (1 - value / posterior)))} %`;
    this.caption.textContent =
      `anterior ${anterior.toFixed(1)} mm · middle ${middle.toFixed(1)} mm · posterior ${posterior.toFixed(1)} mm — ` +
      `lost against posterior: anterior ${loss(anterior)}, middle ${loss(middle)}`;
  }

  #grab(event) {
    const number = event.target.dataset?.point;
    if (number === undefined || document.getElementById("grading").disabled) return;
    event.preventDefault();
    this.overlay.setPointerCapture(event.pointerId);
    const before = this.#points.map((p) => [...p]);
    const move = (moved) => { this.#place(Number(number), this.#toMm(moved)); };
    const done = (last) => {
      this.overlay.removeEventListener("pointermove", move);
      this.overlay.removeEventListener("pointerup", done);
      this.overlay.removeEventListener("pointercancel", done);
      if (last.type === "pointercancel") this.#points = before;
      this.#draw();
      if (last.type === "pointerup" && !same(before, this.#points)) this.#letGo();
      this.overlay.querySelector(`[data-point="${number}"]`)?.focus({ focusVisible: false });
    };
    this.overlay.addEventListener("pointermove", move);
    this.overlay.addEventListener("pointerup", done);
    this.overlay.addEventListener("pointercancel", done);
  }

  #nudge(event) {
    const number = event.target.dataset?.point;
    const by = { ArrowLeft: [-STEP_MM, 0], ArrowRight: [STEP_MM, 0], ArrowUp: [0, STEP_MM], ArrowDown: [0, -STEP_MM] }[event.key];
    if (number === undefined || !by) return;
    event.preventDefault();
    event.stopPropagation();
    const [posterior, superior] = this.#points[number];
    this.#place(Number(number), [posterior + by[0], superior + by[1]]);
    this.#letGo();
    this.overlay.querySelector(`[data-point="${number}"]`)?.focus();
  }

  /** Moves a point, never across its partner on the other endplate, never out of the picture. */
  #place(number, [posterior, superior]) {
    const [front, back, top, bottom] = this.#vertebra.window_mm;
    const partner = this.#points[(number + 3) % 6][1];
    const free = number < 3 ? Math.max(superior, partner + 1) : Math.min(superior, partner - 1);
    this.#points[number] = [clamp(posterior, front, back), clamp(free, bottom, top)];
    this.#draw();
  }

  #letGo() {
    this.onPoints(this.#points.map(([p, s]) => [round(p), round(s)]));
    this.#draw();
  }
}

export function heights(points) {
  return [0, 1, 2].map((n) => Math.hypot(points[n][0] - points[n + 3][0], points[n][1] - points[n + 3][1]));
}

function startingPoints(vertebra) {
  const given = vertebra.opinion.points_mm ?? vertebra.model_points_mm;
  return (given ?? [[-12, 10], [0, 10], [12, 10], [-12, -10], [0, -10], [12, -10]]).map((p) => [...p]);
}

function shape(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const round = (value) => Math.round(value * 100) / 100;
const same = (one, other) => one.every((p, n) => p[0] === other[n][0] && p[1] === other[n][1]);
