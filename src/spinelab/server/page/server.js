// What is asked of the server; every change carries the secret of the session.
const secret = document.querySelector('meta[name="csrf"]')?.content ?? "";

export class Refused extends Error {}

/** Asks for JSON; a refusal becomes an error with the server's own words. */
export async function ask(method, path, body) {
  const headers = method === "GET" ? {} : { "X-CSRF-Token": secret };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  if (answer.status === 401) {
    location.assign("/signin");
    throw new Refused("signed out");
  }
  const data = await answer.json().catch(() => ({ detail: `the server answered ${answer.status}` }));
  if (!answer.ok) throw new Refused(data.detail);
  return data;
}

/** Sends changes one after another, in the order they were made; tells how many are on their way. */
export class Outbox {
  #last = Promise.resolve();
  #waiting = 0;

  constructor(onState) {
    this.onState = onState;
    window.addEventListener("beforeunload", (event) => {
      if (this.#waiting > 0) event.preventDefault();
    });
  }

  send(method, path, body) {
    this.#waiting += 1;
    this.onState("saving");
    const sent = this.#last.then(() => ask(method, path, body));
    this.#last = sent.catch(() => {});
    return sent.then(
      (data) => {
        this.#waiting -= 1;
        if (this.#waiting === 0) this.onState("saved");
        return data;
      },
      (error) => {
        this.#waiting -= 1;
        this.onState("failed");
        throw error;
      },
    );
  }
}
