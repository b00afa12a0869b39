// Drive in the diffusion dream: the reader at the wheel of a denoiser, beside the dream of V and M
// from the same moment, with the same keys and the same seed of the noise.

import "../page/page.css";
import "./diffusion_drive.css";
import { Decoder, Dream as Codes, Memory, Random, startsOf, unpack } from "../page/engine.js";
import { Clock, button, fact, fail, make, mount, screen } from "../page/page.js";
import { Wheel } from "../page/wheel.js";
import { momentsOf, pictureOf } from "./dream.js";
import { open } from "./place.js";

const NAME = "Drive in the diffusion dream";
const RATED = 1000; // milliseconds over which frames are counted, or three frames if those take longer
const KEPT = 100; // frames whose moments are remembered for that, many more than such a time has
const BEHIND = 2; // decisions that a dream may catch up after a pause of the browser's

const number = (value, digits = 0) => value.toFixed(digits).replace("-", "−");
const questions = (steps) => `${steps} ${steps === 1 ? "step" : "steps"} a frame`;

// What V and M dream beside it, if they were given: {side, begin(row, seed), step(action), picture()}.
function companion(bytes) {
  if (!bytes?.byteLength) return null;
  const { header, arrays } = unpack(bytes);
  const decoder = new Decoder(arrays, header.vision);
  const memory = new Memory(arrays, header.memory);
  const starts = startsOf(arrays, header.memory);
  let dream = null;
  return {
    side: decoder.side,
    begin: (row, seed) => (dream = new Codes(memory, starts[row], new Random(seed))),
    step: (action) => dream.step(action, 1),
    picture: () => decoder.decode(dream.z),
  };
}

function build(root, model) {
  const { header, arrays } = unpack(model.get("weights"));
  const moments = momentsOf(arrays, header);
  const other = companion(model.get("world"));
  const spell = 1000 * model.get("seconds_per_decision");
  const wheel = new Wheel(() => clock.running);
  let place = null; // where it is dreamed, as soon as that is known
  let removed = false;
  let startNow = model.get("start");
  let seedNow = model.get("seed");
  let steps = model.get("steps");
  let wide = model.get("wide");
  let turn = 0; // dreams begun so far: an answer to an earlier one comes too late
  let decisions, pictures, milliseconds, busy, due, times;

  // What is on the page.
  const seen = screen(header.side, "What the denoiser draws");
  const veil = make("div", { class: "wm-veil", "aria-hidden": "true" }, make("span", {}, "▶"));
  const films = [make("figure", {}, make("div", { class: "wm-screen", onclick: lookAt }, seen.canvas, veil),
    make("figcaption", {}, `Diffusion: its state is the last ${header.past} frames`))];
  const painted = other && screen(other.side, "What V paints of M's dream");
  if (other) {
    films.push(make("figure", {}, make("div", { class: "wm-screen" }, painted.canvas),
      make("figcaption", {}, "V and M: their state is a code and a memory")));
  }
  const status = make("p", { class: "wm-status", role: "status" });
  const drawnBy = make("p", { class: "wm-note wm-by" }, "The denoiser is being made ready.");
  const rate = fact("Frames a second");
  const cost = fact("Time to draw a frame");
  const time = fact("Time in the dream");
  const run = button("Start", () => (clock.running ? pause() : start()), { "data-main": true });
  const once = button("One step", () => {
    if (clock.running) pause();
    if (!busy) decide().then((counted) => counted && !clock.running && rested("Paused"), broken);
  });
  const again = button("Restart", () => reset(startNow, seedNow));
  const next = button("Another start", () =>
    reset((startNow + 1) % moments.length, (seedNow + 1) >>> 0));
  const choices = header.steps.map((count) =>
    button(String(count), () => choose(count), { "aria-label": questions(count), title: questions(count) }));
  const wider = button("Begin with wide noise", () => widen(!wide), {
    title: "A frame begins with noise as wide as its first step asks for, and not with narrower noise",
  });

  root.append(
    make("div", { class: "wm-films", "data-films": films.length }, ...films),
    make("div", { class: "wm-board" },
      make("div", {},
        make("div", { class: "wm-row" }, run, once, again, next),
        wheel.pedals,
        status,
        make("p", { class: "wm-note" },
          "Keys, while the demo runs and has the focus: arrows or W A S D drive, Escape pauses. "
          + "Leave the road, and see what it invents.")),
      make("div", {},
        make("div", { class: "wm-steps", role: "group", "aria-label": "Steps of the sampler for a frame" },
          make("span", { "aria-hidden": "true" }, "Steps a frame"), ...choices),
        make("div", { class: "wm-row" }, wider),
        wheel.bars,
        make("div", { class: "wm-facts" }, rate.element, cost.element, time.element),
        drawnBy)));

  const clock = new Clock(root, go, () => rested("Paused, out of sight,"));
  choose(steps, false);
  widen(wide, false);
  reset(startNow, seedNow);
  const ready = open(header, arrays).then((made) => {
    if (removed) return made.close();
    place = made;
    place.begin(startNow, seedNow);
    drawnBy.textContent = `Drawn by ${place.by}, ${place.where}. `
      + `At ${number(1000 / spell, 1)} frames a second the dream keeps the pace of the road it learned.`;
    root.dataset.by = place.by;
    return undefined;
  }).catch(broken);

  function broken(error) {
    clock.remove();
    fail(root, NAME, error);
  }

  function say(text) {
    status.textContent = text;
  }

  function choose(count, speak = true) {
    steps = count;
    choices.forEach((choice, i) =>
      choice.setAttribute("aria-pressed", String(header.steps[i] === count)));
    if (!speak) return;
    model.set("steps", count);
    model.save_changes();
  }

  function widen(yes, speak = true) {
    wide = yes;
    wider.setAttribute("aria-pressed", String(yes));
    if (!speak) return;
    model.set("wide", yes);
    model.save_changes();
  }

  function reset(row, seed) {
    clock.stop();
    [startNow, seedNow] = [row, seed];
    turn += 1;
    busy = false;
    place?.begin(row, seed);
    other?.begin(row, seed);
    wheel.action.fill(0);
    times = [];
    decisions = milliseconds = pictures = 0;
    model.set("start", row);
    show(pictureOf(moments[row].frames.at(-1)));
    settle(`Start ${row + 1} of ${moments.length}. You will drive. Press Start.`);
  }

  // The state of the buttons when nothing moves, and what Python may know of it.
  function settle(text) {
    run.textContent = "Start";
    root.dataset.running = "false";
    wheel.releaseAll();
    times = [];
    write();
    say(text);
    model.set("decisions", decisions);
    model.set("milliseconds", milliseconds);
    model.save_changes();
  }

  function start() {
    run.textContent = "Pause";
    root.dataset.running = "true";
    say("You drive. It goes on when you do nothing, too.");
    due = performance.now();
    clock.start();
  }

  function pause() {
    clock.stop();
    rested("Paused");
  }

  function rested(why) {
    settle(`${why} after ${number((decisions * spell) / 1000, 1)} seconds in the dream.`);
  }

  // Decide when it is time to, which is at once where the last frame took longer than a decision does.
  function go() {
    const now = performance.now();
    if (!clock.running || busy || !place || now < due) return;
    due = Math.max(due + spell, now - BEHIND * spell);
    decide().then(go, broken);
  }

  // One decision of the reader, and the answers of both dreams; whether it counted.
  async function decide() {
    const mine = turn;
    busy = true;
    await ready;
    if (!place || mine !== turn) return false; // the page says why, or another dream has begun
    const action = wheel.ease().slice();
    const asked = place.step(action, { steps, wide });
    other?.step(action);
    const { picture, milliseconds: taken } = await asked;
    if (mine !== turn) return false;
    busy = false;
    decisions += 1;
    milliseconds = taken;
    times = [...times.slice(1 - KEPT), performance.now()];
    show(picture);
    if (clock.running) write();
    return true;
  }

  function show(picture) {
    seen.paint(picture);
    if (other) painted.paint(other.picture());
    root.dataset.pictures = ++pictures;
    root.dataset.decisions = decisions;
    wheel.move(wheel.action);
  }

  function write() {
    const recent = times.filter((moment) => moment > times.at(-1) - RATED);
    const counted = recent.length > 2 ? recent : times.slice(-3);
    const spent = counted.at(-1) - counted[0];
    rate.value.textContent = spent > 0
      ? `${number((1000 * (counted.length - 1)) / spent, 1)} of ${number(1000 / spell, 1)}` : "–";
    cost.value.textContent = milliseconds ? `${number(milliseconds)} ms` : "–";
    time.value.textContent = `${number((decisions * spell) / 1000, 1)} s`;
    wheel.write(wheel.action);
  }

  // A click on the picture starts and pauses, and takes the focus, so that the keys drive.
  function lookAt() {
    run.focus({ preventScroll: true });
    run.click();
  }

  wheel.listen(root, () => clock.running);
  root.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && clock.running) pause();
  });
  const listeners = Object.entries({
    steps: () => model.get("steps") !== steps && choose(model.get("steps"), false),
    wide: () => model.get("wide") !== wide && widen(model.get("wide"), false),
    start: () => model.get("start") !== startNow && reset(model.get("start"), seedNow),
  }).map(([name, listener]) => [`change:${name}`, listener]);
  for (const [name, listener] of listeners) model.on(name, listener);

  return () => {
    removed = true;
    turn += 1;
    clock.remove();
    place?.close();
    for (const [name, listener] of listeners) model.off(name, listener);
  };
}

export default {
  render: ({ model, el }) => mount(el, NAME, (root) => build(root, model)),
};
