// Drive the dream: the reader, or C, at the wheel in the world that V and M imagine.

import "../page/page.css";
import "./drive.css";
import { Controller, Decoder, Dream, Memory, Random, startsOf, unpack } from "../page/engine.js";
import {
  Clock, button, fact, latentPanel, make, mount, prefersStillness, screen, slider, trace,
} from "../page/page.js";
import { Wheel, nothing } from "../page/wheel.js";

const PICTURES = 30; // a second, at most
const TRACE = 10; // seconds that the line of rewards goes back

const number = (value, digits = 0) => value.toFixed(digits).replace("-", "−");

function build(root, model) {
  const { header, arrays } = unpack(model.get("weights"));
  const decoder = new Decoder(arrays, header.vision);
  const memory = new Memory(arrays, header.memory);
  const driver = header.controller ? new Controller(arrays, header.controller) : null;
  const starts = startsOf(arrays, header.memory);
  const spell = model.get("seconds_per_decision");

  const wheel = new Wheel(taken);
  const between = new Float32Array(header.memory.latent);
  let dream, before, action, rewards, ended, waiting, sincePicture, sinceText, pictures;
  let history = []; // the reward of each decision
  let temperature = model.get("temperature");
  let speed = 1;

  // What is on the page.
  const { canvas, paint } = screen(decoder.side, "What V paints of M's dream");
  const veil = make("div", { class: "wm-veil", "aria-hidden": "true" }, make("span", {}, "▶"));
  const total = make("span", { class: "wm-total" });
  const atWheel = make("p", { class: "wm-at-wheel", "aria-hidden": "true" }); // status says it, too
  const status = make("p", { class: "wm-status", role: "status" });
  const line = trace();
  const time = fact("Time in the dream");
  const paid = fact("Reward of a decision");
  const run = button("Start", () => (clock.running ? pause() : start()), { "data-main": true });
  const step = button("One step", () => {
    if (clock.running) pause();
    if (ended) reset(startNow, seedNow);
    decide();
    if (!ended) rested("Paused");
  });
  const again = button("Restart", () => reset(startNow, seedNow));
  const other = button("Another start", () =>
    reset((startNow + 1) % starts.length, (seedNow + 1) >>> 0));
  const auto = button("C drives", () => hand(!byC()), { "aria-pressed": "false" });
  const panel = latentPanel(header.memory.latent, (i, value) => {
    dream.z[i] = before[i] = value;
    if (!clock.running) show(dream.z, false);
  }, arrays["latents.order"].values);
  const heat = slider("Temperature", {
    min: 0.1, max: 2, step: 0.05, value: temperature,
    say: (value) => number(value, 2),
    oninput: (value) => {
      temperature = value;
      model.set("temperature", value);
      model.save_changes();
    },
  });
  const pace = slider("Speed", {
    min: 0.25, max: 2, step: 0.25, value: speed,
    say: (value) => `${number(value, 2)} ×`,
    oninput: (value) => (speed = value),
  });
  const latents = make("details", { class: "wm-more" },
    make("summary", {}, `The ${header.memory.latent} numbers of z`),
    make("p", { class: "wm-note" },
      "Move one: V paints what it holds, and the dream goes on from there. The number that moves "
      + "the picture most comes first."),
    panel.element);

  root.append(
    make("div", { class: "wm-board" },
      make("div", {},
        make("div", { class: "wm-screen", onclick: lookAt }, canvas, veil, atWheel,
          make("p", { class: "wm-score" }, make("span", {}, "Imagined return"), total)),
        make("div", { class: "wm-row" }, run, step, ...(driver ? [auto] : [])),
        wheel.pedals,
        status,
        make("p", { class: "wm-note" },
          "Keys, while the demo runs and has the focus: arrows or W A S D drive, Escape pauses.")),
      make("div", {},
        make("div", { class: "wm-row" }, again, other),
        heat.element, pace.element,
        wheel.bars,
        make("div", { class: "wm-facts" }, time.element, paid.element),
        line.canvas)),
    latents);

  let startNow = model.get("start");
  let seedNow = model.get("seed");
  const clock = new Clock(root, tick, () => rested("Paused, out of sight,"));
  hand(driver !== null && model.get("driver") === "C", false);
  reset(startNow, seedNow);

  function byC() {
    return auto.getAttribute("aria-pressed") === "true";
  }

  // Who drives, and how that is changed.
  function atTheWheel() {
    if (byC()) return "C drives. A driving key or a pedal takes the wheel.";
    return driver ? "You drive. The button “C drives” gives the wheel back." : "You drive.";
  }

  // Give the wheel to C, or to the reader.
  function hand(toC, speak = true) {
    auto.setAttribute("aria-pressed", String(toC));
    atWheel.textContent = toC ? "C drives" : "You drive";
    root.dataset.driver = toC ? "C" : "reader";
    if (action) wheel.action.set(action);
    if (!speak) return;
    say(atTheWheel());
    model.set("driver", toC ? "C" : "reader");
    model.save_changes();
  }

  function say(text) {
    status.textContent = text;
  }

  function reset(row, seed) {
    clock.stop();
    [startNow, seedNow] = [row, seed];
    dream = new Dream(memory, starts[row], new Random(seed));
    before = dream.z.slice();
    action = nothing();
    wheel.action.fill(0);
    history = [];
    rewards = waiting = sincePicture = sinceText = pictures = 0;
    ended = false;
    model.set("start", row);
    show(dream.z);
    write();
    settle(`Start ${row + 1} of ${starts.length}. ${byC() ? "C" : "You"} will drive. Press Start.`);
  }

  // The state of the buttons when nothing moves, and what Python may know of it.
  function settle(text) {
    run.textContent = ended ? "Start again" : "Start";
    root.dataset.running = "false";
    veil.firstChild.textContent = ended ? "the end" : "▶";
    wheel.releaseAll();
    say(text);
    model.set("decisions", history.length);
    model.set("imagined_return", rewards);
    model.save_changes();
  }

  function start() {
    if (ended) reset(startNow, seedNow);
    run.textContent = "Pause";
    root.dataset.running = "true";
    say(atTheWheel());
    clock.start();
  }

  function pause() {
    clock.stop();
    rested("Paused");
  }

  function rested(why) {
    show(dream.z);
    write();
    settle(`${why} after ${sofar()}`);
  }

  function sofar() {
    return `${number(history.length * spell, 1)} seconds. Imagined return ${number(rewards)}.`;
  }

  // One decision of the driver, and M's answer.
  function decide() {
    panel.hold(dream.z);
    before.set(dream.z);
    action = byC() ? driver.act(dream.z, dream.hidden) : wheel.ease();
    const { reward, ended: over } = dream.step(action, temperature);
    rewards += reward;
    history.push(reward);
    if (!over) return;
    ended = true;
    clock.stop();
    rested("M says that the episode is over,");
  }

  // Pictures come more often than decisions: in between, V paints codes on the line from one to the
  // next. Readers who prefer stillness get one picture a decision.
  function tick(passed) {
    waiting = Math.min(waiting + passed * speed, 2 * spell);
    sincePicture += passed;
    sinceText += passed;
    let decided = false;
    while (waiting >= spell && !ended) {
      waiting -= spell;
      decide();
      decided = true;
    }
    if (prefersStillness() ? decided : sincePicture >= 0.9 / PICTURES) {
      sincePicture = 0;
      const share = ended || prefersStillness() ? 1 : waiting / spell;
      for (let j = 0; j < between.length; j++) {
        between[j] = (1 - share) * before[j] + share * dream.z[j];
      }
      show(between, false);
    }
    if (sinceText >= 0.12) {
      sinceText = 0;
      write();
    }
  }

  function show(z, sliders = true) {
    paint(decoder.decode(z));
    root.dataset.pictures = ++pictures;
    wheel.move(action);
    if (sliders && latents.open) panel.show(dream.z);
  }

  function write() {
    root.dataset.decisions = history.length;
    total.textContent = number(rewards);
    time.value.textContent = `${number(history.length * spell, 1)} s`;
    paid.value.textContent = history.length ? number(history.at(-1), 2) : "–";
    const { reward_offset: least, reward_scale: event } = header.memory;
    line.draw(history, least, least + 1.5 * event, Math.round(TRACE / spell));
    wheel.write(action);
    if (latents.open) panel.show(dream.z);
  }

  // A click on the picture starts and pauses, and takes the focus, so that the keys drive.
  function lookAt() {
    run.focus({ preventScroll: true });
    run.click();
  }

  // A press of the reader's, who then has the wheel.
  function taken() {
    if (clock.running && byC()) hand(false);
    return clock.running;
  }

  wheel.listen(root, () => clock.running);
  root.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && clock.running) pause();
  });
  latents.addEventListener("toggle", () => panel.show(dream.z));
  const listeners = Object.entries({
    temperature: () => {
      temperature = model.get("temperature");
      heat.set(temperature);
    },
    driver: () => (model.get("driver") === "C") !== byC() && hand(!byC()),
    start: () => model.get("start") !== startNow && reset(model.get("start"), seedNow),
  }).map(([name, listener]) => [`change:${name}`, listener]);
  for (const [name, listener] of listeners) model.on(name, listener);

  return () => {
    clock.remove();
    for (const [name, listener] of listeners) model.off(name, listener);
  };
}

export default {
  render: ({ model, el }) => mount(el, "Drive the dream", (root) => build(root, model)),
};
