// The reading page: one vertebra at a time, by keyboard; everything else follows.
import { drawOthers, isDisputed, namesDiffer, opinionsOn, settledOn } from "./adjudicate.js";
import { Clock } from "./clock.js";
import { NamesBox } from "./names.js";
import { ask, Outbox } from "./server.js";
import { Stage } from "./stage.js";
import { Strip } from "./strip.js";
import { GRADES, make, tell } from "./words.js";

const byId = (id) => document.getElementById(id);
const bench = byId("reading");
const api = `/api/cases/${bench.dataset.scan}`;
/** The views follow when the reader stays; drawing three of them must not hold up walking down the column. */
const VIEWS_AFTER_MS = 120;
const SHAPE_KEYS = { w: "wedge", b: "biconcave", c: "crush" };

let shown = null;
let current = 0;
let views = null;
let viewsTimer = 0;
const images = new Map();
const clock = new Clock();
const outbox = new Outbox((state) => {
  const words = { saving: "Saving…", saved: "Saved", failed: "Not saved" };
  byId("saved").textContent = words[state];
  byId("saved").classList.toggle("bad", state === "failed");
});
const strip = new Strip((id) => choose(shown.vertebrae.findIndex((v) => v.id === id)));
const stage = new Stage((points) => save(vertebra(), { ...vertebra().opinion, points_mm: points }));
const namesBox = new NamesBox(rename);

const vertebra = () => shown.vertebrae[current];
const nameOf = (one) => shown.names[one.id];
const wanted = () => shown.vertebrae.filter((v) => v.graded && (!shown.adjudicates || isDisputed(shown, v.id)));
const left = () => wanted().filter((v) => !v.complete);

start().catch((error) => say(error.message, "bad"));

async function start() {
  shown = await ask("GET", api);
  document.title = `${shown.case} – spinelab`;
  byId("case").textContent = shown.case;
  if (shown.vertebrae.length === 0) {
    bench.setAttribute("aria-busy", "false");
    say("No vertebra was found in this scan.", "bad");
    return;
  }
  for (const one of shown.vertebrae) {
    const image = new Image(480, 400);
    image.src = one.picture;
    images.set(one.id, image);
  }
  const first = shown.vertebrae.indexOf(left()[0] ?? shown.vertebrae.find((v) => v.graded) ?? shown.vertebrae[0]);
  await images.get(shown.vertebrae[first].id).decode();
  strip.fill(shown.vertebrae, images);
  byId("undo").disabled = !shown.open;
  choose(first);
  drawState();
  bench.setAttribute("aria-busy", "false");
  performance.mark("first-picture");
  const decoded = Promise.allSettled([...images.values()].map((image) => image.decode()));
  await decoded;
  performance.mark("thumbnails-ready");
  await startViews();
}

async function startViews() {
  const note = byId("views-note");
  try {
    const { openViews } = await import("./views.js");
    views = await openViews(byId("views"), bench.dataset.scan, follow);
    views.go(vertebra().center_mm);
    note.hidden = true;
    performance.mark("views-ready");
    await views.showOutlines(stage.outlinesShown);
    performance.mark("outlines-ready");
  } catch (error) {
    note.hidden = false;
    note.textContent = `The linked views need WebGL 2, which this browser does not offer (${error.message}).`;
  }
}

/** The crosshair was moved in a view: the nearest vertebra becomes the current one. */
function follow(point) {
  const gap = (v) => Math.hypot(...v.center_mm.map((value, n) => value - point[n]));
  const nearest = shown.vertebrae.reduce((best, v) => (gap(v) < gap(best) ? v : best));
  if (gap(nearest) < 30 && nearest !== vertebra()) choose(shown.vertebrae.indexOf(nearest), false);
}

function choose(number, moveViews = true) {
  current = Math.min(Math.max(number, 0), shown.vertebrae.length - 1);
  const one = vertebra();
  clock.look(one.id);
  strip.select(one.id);
  stage.show(one, images.get(one.id), nameOf(one));
  drawVertebra();
  clearTimeout(viewsTimer);
  if (moveViews && views) viewsTimer = setTimeout(() => views.go(one.center_mm), VIEWS_AFTER_MS);
}

function drawVertebra() {
  const one = vertebra();
  byId("level").textContent = nameOf(one);
  const doubtful = one.level_probability < 0.9 && !shown.renamed;
  byId("doubt").textContent = doubtful ? `name ${Math.round(100 * one.level_probability)} % sure${one.other_level ? `, else ${one.other_level}` : ""}` : "";
  const flags = one.complete_in_view ? one.flags.filter((flag) => flag !== "cut") : ["cut by the field of view", ...one.flags.filter((flag) => flag !== "cut")];
  byId("flags").replaceChildren(...flags.map((flag) => make("li", {}, flag)));
  for (const button of document.querySelectorAll("[data-grade]")) press(button, one.opinion.grade === Number(button.dataset.grade));
  for (const button of document.querySelectorAll("[data-shape]")) {
    press(button, one.opinion.shape === button.dataset.shape);
    button.disabled = !one.opinion.grade;
  }
  press(byId("not"), one.opinion.evaluable === false);
  byId("grading").disabled = !shown.open || !one.graded;
  drawSuggestion(one);
  drawOthers(byId("others"), shown, one, take);
  drawHint();
}

function drawHint() {
  const one = vertebra();
  const differ = shown.adjudicates && shown.open && !shown.renamed && namesDiffer(shown);
  if (shown.finished) say("This reading is finished; nothing in it changes any more.");
  else if (!shown.open) say("Read only.");
  else if (differ) say("The readers name the column differently: choose its names with L.", "ask");
  else if (!one.graded) say(`${nameOf(one)} has no pair of endplates to grade.`);
  else if (one.opinion.grade && !one.opinion.shape) say("Which shape? W wedge, B biconcave, C crush.", "ask");
  else if (left().length === 0) say(`${shown.adjudicates ? "Every disagreement is settled" : "Every vertebra is graded"}: F finishes the case.`);
  else say("");
}

function drawSuggestion(one) {
  const box = byId("suggestion");
  const model = one.suggestion;
  box.hidden = !model || (model.evaluable === null && model.height_loss_percent === null);
  if (box.hidden) return;
  const interval = model.interval_percent ? ` (${model.interval_percent.map((v) => Math.round(v)).join(" to ")} %)` : "";
  const parts = [model.evaluable === null ? "no grade" : tell(model)];
  if (model.probability !== null) parts.push(`fracture ${Math.round(100 * model.probability)} %`);
  if (model.height_loss_percent !== null) parts.push(`height loss ${Math.round(model.height_loss_percent)} %${interval}`);
  if (model.reference) parts.push(`against ${model.reference}`);
  const reasons = model.reasons.length ? [make("ul", {}, ...model.reasons.map((reason) => make("li", {}, reason)))] : [];
  box.replaceChildren("Model: ", make("b", {}, parts[0]), parts.length > 1 ? `, ${parts.slice(1).join(", ")}` : "", ...reasons);
}

/** Strip, progress and buttons: what does not depend on the vertebra that is looked at. */
function drawState() {
  for (const one of shown.vertebrae) drawChip(one);
  drawProgress();
}

function drawChip(one) {
  const opinion = one.complete || one.opinion.evaluable !== null ? one.opinion : settledOn(shown, one.id);
  strip.tell(one, nameOf(one), { opinion, disputed: isDisputed(shown, one.id) && !one.complete && !settledOn(shown, one.id) });
}

function drawProgress() {
  const all = wanted();
  const done = all.length - left().length;
  byId("progress").textContent = shown.adjudicates ? `${done} of ${all.length} disagreements settled` : shown.open || shown.finished ? `${done} of ${all.length} graded` : "";
  byId("finish").disabled = !shown.open;
  byId("undo").disabled = !shown.open;
  byId("names").disabled = !shown.open;
  byId("finish").lastChild.textContent = shown.finished ? " Finished" : " Finish";
}

function grade(value) {
  const one = vertebra();
  const shape = value === 0 ? null : one.opinion.shape;
  return opine({ ...one.opinion, evaluable: true, grade: value, shape });
}

function form(shape) {
  if (!vertebra().opinion.grade) return say("First the grade: 1, 2 or 3.", "ask");
  return opine({ ...vertebra().opinion, shape });
}

const refuse = () => opine({ ...vertebra().opinion, evaluable: false, grade: null, shape: null });

function take(reader) {
  const opinion = opinionsOn(shown, vertebra().id)[reader];
  if (opinion) opine({ ...opinion, points_mm: null });
}

/** Saves an opinion; goes on to the next vertebra when nothing is left to say on this one. */
function opine(opinion) {
  const one = vertebra();
  if (!shown.open || !one.graded) return;
  save(one, opinion);
  if (one.complete) advance();
}

function save(one, opinion) {
  one.opinion = opinion;
  one.complete = opinion.evaluable === false || opinion.grade === 0 || Boolean(opinion.grade && opinion.shape);
  drawChip(one);
  drawProgress();
  if (one === vertebra()) drawVertebra();
  outbox.send("PUT", `${api}/vertebrae/${one.id}`, { ...opinion, seconds: clock.take(one.id) }).then(
    (answer) => {
      one.suggestion = answer.suggestion;
      if (one === vertebra()) drawSuggestion(one);
    },
    (error) => recover(error),
  );
}

/** Something was not saved: shows what the server holds. */
async function recover(error) {
  shown = await ask("GET", api);
  choose(current);
  drawState();
  say(error.message, "bad");
}

function advance() {
  const after = wanted().filter((v) => !v.complete);
  const next = after.find((v) => shown.vertebrae.indexOf(v) > current) ?? after[0];
  if (next) choose(shown.vertebrae.indexOf(next));
  else drawHint();
}

async function undo() {
  const answer = await outbox.send("POST", `${api}/undo`).catch((error) => say(error.message, "bad"));
  if (!answer) return;
  if (!answer.undone) return say("There is nothing to undo.");
  if (answer.vertebra) {
    const one = shown.vertebrae.find((v) => v.id === answer.vertebra.id);
    Object.assign(one, answer.vertebra);
    choose(shown.vertebrae.indexOf(one));
  }
  adopt(answer);
}

async function rename(id, name, variant) {
  await outbox.send("POST", `${api}/names`, { vertebra_id: id, name, variant }).then(adopt, (error) => say(error.message, "bad"));
}

function adopt(state) {
  for (const key of ["open", "finished", "names", "variant", "renamed", "protocol"]) shown[key] = state[key];
  drawState();
  stage.refresh();
  drawVertebra();
}

async function finish() {
  if (!shown.open) return;
  const missing = left();
  if (missing.length) {
    choose(shown.vertebrae.indexOf(missing[0]));
    return say(`Left to grade: ${missing.map(nameOf).join(", ")}.`, "ask");
  }
  try {
    adopt(await outbox.send("POST", `${api}/finish`));
  } catch (error) {
    return say(error.message, "bad");
  }
  const counts = GRADES.map((word, n) => [word, shown.vertebrae.filter((v) => v.opinion.grade === n).length]).filter(([, n]) => n > 0);
  const none = shown.vertebrae.filter((v) => v.opinion.evaluable === false).length;
  const words = [...counts.map(([word, n]) => `${n} ${word}`), ...(none ? [`${none} not evaluable`] : [])];
  byId("done-text").textContent = `${shown.case}: ${words.join(", ") || "nothing to settle"}.`;
  byId("done-box").showModal();
  byId("done-next").focus();
}

async function reopen() {
  byId("done-box").close();
  await outbox.send("POST", `${api}/reopen`).then(adopt, (error) => say(error.message, "bad"));
}

function toggleOutlines() {
  stage.toggleOutlines();
  press(byId("outlines"), stage.outlinesShown);
  views?.showOutlines(stage.outlinesShown);
}

function togglePoints() {
  stage.togglePoints();
  press(byId("points"), stage.pointsShown);
}

function say(text, kind = "") {
  byId("hint").textContent = text;
  byId("hint").className = `hint ${kind}`;
}

function press(button, on) {
  button.setAttribute("aria-pressed", String(on));
}

const KEYS = {
  ArrowDown: () => choose(current + 1), ArrowUp: () => choose(current - 1),
  ArrowRight: () => choose(current + 1), ArrowLeft: () => choose(current - 1),
  Home: () => choose(0), End: () => choose(shown.vertebrae.length - 1),
  u: undo, o: toggleOutlines, p: togglePoints, f: finish, n: refuse,
  l: () => shown.open && namesBox.open(shown, vertebra()), "?": () => byId("help-box").showModal(),
  "[": () => shown.adjudicates && take(0), "]": () => shown.adjudicates && take(1),
  ",": () => shown.adjudicates && take(0), ".": () => shown.adjudicates && take(1), // keyboards without brackets
};

document.addEventListener("keydown", (event) => {
  if (!shown || event.ctrlKey || event.metaKey || event.altKey || event.repeat && !event.key.startsWith("Arrow")) return;
  if (document.querySelector("dialog[open]") || event.target.matches("input, select")) return;
  if (event.target.dataset?.point !== undefined && event.key.startsWith("Arrow")) return;
  if (event.target.matches("canvas")) event.stopPropagation(); // the views have keys of their own, which mean other things
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const action = KEYS[key] ?? (/^[0-3]$/.test(key) ? () => grade(Number(key)) : SHAPE_KEYS[key] && (() => form(SHAPE_KEYS[key])));
  if (!action) return;
  event.preventDefault();
  action();
}, true);
for (const button of document.querySelectorAll("[data-grade]")) button.addEventListener("click", () => grade(Number(button.dataset.grade)));
for (const button of document.querySelectorAll("[data-shape]")) button.addEventListener("click", () => form(button.dataset.shape));
const CLICKS = { not: refuse, undo, outlines: toggleOutlines, points: togglePoints, names: KEYS.l, help: KEYS["?"], finish, reopen };
for (const [id, action] of Object.entries(CLICKS)) byId(id).addEventListener("click", action);
