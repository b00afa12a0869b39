// Driving a car in the page: its keys and pedals, what the reader holds down, and where the controls
// stand.

import "./wheel.css";
import { button, fact, make } from "./page.js";

// How far each control goes when its key or pedal is down (as in Gymnasium's own keyboard play), and
// by how much it moves in a decision.
const CONTROLS = [
  { name: "Steering", reach: 1, press: 0.2, release: 0.3 },
  { name: "Gas", reach: 1, press: 0.2, release: 0.4 },
  { name: "Brake", reach: 0.8, press: 0.2, release: 0.4 },
];
const PEDALS = {
  left: { text: "◀", name: "Steer left", keys: ["arrowleft", "a"], control: 0, sign: -1 },
  gas: { text: "▲", name: "Gas", keys: ["arrowup", "w"], control: 1, sign: 1 },
  brake: { text: "▼", name: "Brake", keys: ["arrowdown", "s"], control: 2, sign: 1 },
  right: { text: "▶", name: "Steer right", keys: ["arrowright", "d"], control: 0, sign: 1 },
};
const PULSE = 6; // decisions that a click lasts which has no length, such as a screen reader's

// The decision that is made when nobody touches anything.
export const nothing = () => new Float32Array(CONTROLS.length);

// `accepts()` is asked before each press whether it counts. `pedals` and `bars` are elements; keys
// drive after `listen(root)`.
export class Wheel {
  constructor(accepts) {
    this.accepts = accepts;
    this.down = new Map(); // pedal -> decisions that it stays down, Infinity while it is held
    this.action = nothing();
    this.pedals = make("div", { class: "wm-pedals", role: "group", "aria-label": "Wheel and pedals" },
      ...Object.keys(PEDALS).map((name) => this.pedal(name)));
    this.rows = CONTROLS.map(({ name }, i) => {
      const fill = make("span", { class: "wm-fill", "data-control": i });
      return { fill, ...fact(name, make("span", { class: "wm-track", "aria-hidden": "true" }, fill)) };
    });
    this.bars = make("div", { class: "wm-facts" }, ...this.rows.map((row) => row.element));
  }

  // One decision on: [steering, gas, brake], overwritten by the next.
  ease() {
    const target = nothing();
    for (const [pedal, left] of this.down) {
      const { control, sign } = PEDALS[pedal];
      target[control] += sign * CONTROLS[control].reach;
      if (left > 1) this.down.set(pedal, left - 1);
      else if (left === 1) this.down.delete(pedal);
    }
    CONTROLS.forEach(({ press, release }, i) => {
      const away = target[i] - this.action[i];
      const rate = Math.abs(target[i]) > Math.abs(this.action[i]) ? press : release;
      this.action[i] += Math.min(Math.max(away, -rate), rate);
    });
    return this.action;
  }

  hold(pedal, left = Infinity) {
    if (this.accepts()) this.down.set(pedal, left);
  }

  release(pedal) {
    this.down.delete(pedal);
  }

  releaseAll() {
    this.down.clear();
  }

  // The bars of an action, and, not so often, its numbers.
  move(action) {
    this.rows.forEach(({ fill }, i) => fill.style.setProperty("--wm-at", action[i]));
  }

  write(action) {
    this.rows.forEach(({ value }, i) => (value.textContent = action[i].toFixed(2).replace("-", "−")));
  }

  pedal(name) {
    const { text, name: label } = PEDALS[name];
    let handled = false; // a press that had a length needs no pulse from the click that follows it
    const press = (event) => {
      handled = true;
      this.hold(name);
      if (event.pointerId !== undefined) element.setPointerCapture(event.pointerId);
    };
    const release = () => this.release(name);
    const isPress = (event) => event.key === " " || event.key === "Enter";
    const element = button(text, () => {
      if (!handled) this.hold(name, PULSE);
      handled = false;
    }, {
      "aria-label": label,
      title: label,
      "data-pedal": name,
      onpointerdown: press,
      onpointerup: release,
      onpointercancel: release,
      onlostpointercapture: release,
      oncontextmenu: (event) => event.preventDefault(),
      onkeydown: (event) => isPress(event) && !event.repeat && press(event),
      onkeyup: (event) => isPress(event) && release(),
    });
    return element;
  }

  // Keys within `root` drive while `running()`; the page does not scroll while its reader steers.
  listen(root, running) {
    root.addEventListener("keydown", (event) => {
      const pedal = running() && pedalOf(event);
      if (!pedal) return;
      event.preventDefault();
      if (!event.repeat) this.hold(pedal);
    });
    root.addEventListener("keyup", (event) => {
      const pedal = pedalOf(event);
      if (pedal) this.release(pedal);
    });
    root.addEventListener("focusout", (event) => {
      if (!root.contains(event.relatedTarget)) this.releaseAll();
    });
  }
}

function pedalOf(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input")) return null;
  const key = event.key.toLowerCase();
  return Object.keys(PEDALS).find((name) => PEDALS[name].keys.includes(key)) ?? null;
}
