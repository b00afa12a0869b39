// Drag the reward scale: what heads predict of the same rewards in other units, and as they learn.

import "../page/page.css";
import "./reward_scale.css";
import { unpack } from "../page/engine.js";
import { Clock, button, fact, make, mount, prefersStillness, shape, slider } from "../page/page.js";

const NAME = "Drag the reward scale";
const HEIGHT = 240; // CSS pixels, of the chart
const MARGIN = { left: 34, right: 8, top: 8, bottom: 34 };
const PACE = 3; // frames a second, when it is watched

const times = (scale) => Number(scale.toPrecision(2)).toLocaleString("en");
const percent = (share) => (share > 9.995 ? "over 999 %" : `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`);
const minus = (text) => String(text).replace("-", "−");

// The target and a curve for each head, drawn in the width that the page leaves.
function chart(places, target, cut) {
  const picture = shape("svg", { class: "wm-heads-chart", "aria-hidden": "true", height: HEIGHT });
  const element = make("div", {}, picture);
  let latest = [];
  const watch = new ResizeObserver(() => draw(latest));
  watch.observe(element);

  function draw(curves) {
    latest = curves;
    const width = Math.max(element.clientWidth, 200);
    const [first, last] = [places[0], places.at(-1)];
    const right = width - MARGIN.right;
    const floor = HEIGHT - MARGIN.bottom;
    const x = (place) => MARGIN.left + ((right - MARGIN.left) * (place - first)) / (last - first);
    const y = (value) => MARGIN.top + ((floor - MARGIN.top) * (cut - value)) / (2 * cut);
    const line = (values, attributes) => shape("polyline", {
      points: Array.from(values, (value, i) => `${x(places[i]).toFixed(1)},${y(value).toFixed(1)}`).join(" "),
      ...attributes,
    });
    const text = (words, across, down, anchor) =>
      shape("text", { x: across, y: down, "text-anchor": anchor }, words);
    const rules = [-1, 0, 1].flatMap((value) => [
      shape("line", { class: "wm-heads-rule", x1: MARGIN.left, x2: right, y1: y(value), y2: y(value) }),
      text(minus(value), MARGIN.left - 6, y(value) + 4, "end"),
    ]);
    picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    picture.replaceChildren(
      ...rules,
      text(minus(first), MARGIN.left, floor + 15, "middle"),
      text(minus(last), right, floor + 15, "end"),
      text("place", (MARGIN.left + right) / 2, floor + 28, "middle"),
      line(target, { class: "wm-heads-target" }),
      ...curves.map(({ head, values }) => line(values, { class: "wm-heads-curve", "data-head": head })));
  }

  return { element, draw, remove: () => watch.disconnect() };
}

const swatch = (attributes) => shape("svg", { class: "wm-heads-swatch", viewBox: "0 0 30 12", "aria-hidden": "true" },
  shape("polyline", { points: "0,6 30,6", ...attributes }));

function build(root, model) {
  const { header: { names, scales, updates, cut }, arrays } = unpack(model.get("weights"));
  const [places, target] = [arrays.places.values, arrays.target.values];
  const hidden = new Set();
  let painted = 0;
  let waiting = 0;
  let at = { scale: model.get("scale"), updates: model.get("updates") };

  // What is on the page.
  const picture = chart(places, target, cut);
  const status = make("p", { class: "wm-status", role: "status" });
  const run = button("Watch them learn", () => (clock.running ? pause() : play()), { "data-main": true });
  const scale = slider("Rewards times", {
    min: 0, max: scales.length - 1, step: 1, value: at.scale, say: (row) => times(scales[row]),
    oninput: (row) => choose({ scale: row }),
  });
  const learned = slider("After updates", {
    min: 0, max: updates.length - 1, step: 1, value: at.updates, say: (row) => times(updates[row]),
    oninput: (row) => {
      clock.stop();
      run.textContent = "Watch them learn";
      root.dataset.running = "false";
      choose({ updates: row });
    },
  });
  const toggles = names.map((name, head) => {
    const toggle = button(name, () => {
      if (!hidden.delete(head)) hidden.add(head);
      toggle.setAttribute("aria-pressed", String(!hidden.has(head)));
      show();
    }, { "aria-pressed": "true" });
    return toggle;
  });
  const rows = names.map((name, head) =>
    fact(make("span", { class: "wm-heads-key" }, swatch({ class: "wm-heads-curve", "data-head": head }), name)));

  root.append(
    make("div", { class: "wm-board" },
      make("div", {},
        picture.element,
        make("p", { class: "wm-note" },
          "Predictions, divided by the scale. The thick grey line is what they should be."),
        scale.element, learned.element),
      make("div", {},
        make("div", { class: "wm-row" }, run),
        make("p", { class: "wm-note" }, "Missed, as a share of the target’s variance:"),
        make("div", { class: "wm-heads-facts" }, ...rows.map(({ element }) => element)),
        status,
        make("div", { class: "wm-row", role: "group", "aria-label": "Heads in the picture" }, ...toggles))));

  const clock = new Clock(root, tick, () => rest("Paused, out of sight."));
  root.dataset.running = "false";
  show();
  rest("");

  function missed(head) {
    return arrays[`missed.${head}`].values[at.updates * scales.length + at.scale];
  }

  function curve(head) {
    const from = (at.updates * scales.length + at.scale) * places.length;
    return arrays[`head.${head}`].values.subarray(from, from + places.length);
  }

  function show() {
    picture.draw(names.map((_, head) => ({ head, values: curve(head) })).filter(({ head }) => !hidden.has(head)));
    rows.forEach((row, head) => (row.value.textContent = percent(missed(head))));
    root.dataset.painted = ++painted;
  }

  // The reader chose, or Python did.
  function choose(change) {
    at = { ...at, ...change };
    scale.set(at.scale);
    learned.set(at.updates);
    show();
    if (!clock.running) rest("");
  }

  function rest(words) {
    run.textContent = "Watch them learn";
    root.dataset.running = "false";
    const each = names.map((name, head) => `${name} ${percent(missed(head))}`);
    status.textContent = `${words} Rewards times ${times(scales[at.scale])}, after `
      + `${times(updates[at.updates])} updates: ${each.join(", ")} missed.`;
    model.set("scale", at.scale);
    model.set("updates", at.updates);
    model.save_changes();
  }

  function play() {
    if (prefersStillness()) { // one step at each press, and nothing by itself
      choose({ updates: (at.updates + 1) % updates.length });
      return;
    }
    if (at.updates === updates.length - 1) choose({ updates: 0 });
    run.textContent = "Pause";
    root.dataset.running = "true";
    status.textContent = "They learn.";
    waiting = 0;
    clock.start();
  }

  function pause() {
    clock.stop();
    rest("Paused.");
  }

  function tick(passed) {
    waiting += passed * PACE;
    if (waiting < 1) return;
    waiting = 0;
    choose({ updates: at.updates + 1 });
    if (at.updates < updates.length - 1) return;
    clock.stop();
    rest("");
  }

  root.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && clock.running) pause();
  });
  const fromPython = ["scale", "updates"].map((name) => {
    const call = () => model.get(name) !== at[name] && choose({ [name]: model.get(name) });
    model.on(`change:${name}`, call);
    return [`change:${name}`, call];
  });
  return () => {
    clock.remove();
    picture.remove();
    fromPython.forEach(([event, call]) => model.off(event, call));
  };
}

export default {
  render: ({ model, el }) => mount(el, NAME, (root) => build(root, model)),
};
