// Time a vertebra is really looked at: the page is in front and something was done in the last minute.
const IDLE_MS = 60_000;

export class Clock {
  #spent = new Map();
  #current = null;
  #since = 0;
  #active = 0;

  constructor() {
    for (const kind of ["keydown", "pointerdown", "pointermove", "wheel"]) {
      window.addEventListener(kind, () => this.#touch(), { passive: true });
    }
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#stop() : this.#touch()));
  }

  /** From now on this vertebra is looked at. */
  look(id) {
    this.#stop();
    this.#current = id;
    this.#since = this.#active = performance.now();
  }

  /** Seconds spent on a vertebra since they were last taken. */
  take(id) {
    this.#stop();
    this.#since = performance.now();
    const seconds = this.#spent.get(id) ?? 0;
    this.#spent.delete(id);
    return Math.round(seconds * 10) / 10;
  }

  #touch() {
    const now = performance.now();
    if (now - this.#active > IDLE_MS || this.#since === 0) {
      this.#stop();
      this.#since = now;
    }
    this.#active = now;
  }

  #stop() {
    if (this.#current === null || this.#since === 0) return;
    const end = Math.min(performance.now(), this.#active + IDLE_MS);
    const seconds = Math.max(0, end - this.#since) / 1000;
    this.#spent.set(this.#current, (this.#spent.get(this.#current) ?? 0) + seconds);
    this.#since = 0;
  }
}
