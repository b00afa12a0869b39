// The learning curve of the playground: steps of each episode, on a logarithmic scale.

import { shape } from "../page/page.js";
import { number, some } from "./life.js";
import { make } from "../page/page.js";

const HEIGHT = 190; // CSS pixels
const MARGIN = { left: 44, right: 10, top: 10, bottom: 34 };
const STYLES = 6; // of the curves of earlier agents

// {element, draw}. `draw(curves, shortest, edits)`: each curve is {label, lengths}, the last of them
// the present one; `edits` are the episodes of that one in which the world was redrawn.
export function learningCurve() {
  const picture = shape("svg", { class: "wm-curve", role: "img", height: HEIGHT });
  const legend = make("ul", { class: "wm-legend" });
  const element = make("div", { class: "wm-plot" }, picture, legend);
  let latest = null;
  let drawn = "";
  const watch = new ResizeObserver(() => latest && draw(...latest));
  watch.observe(element);

  function draw(curves, shortest, edits) {
    latest = [curves, shortest, edits];
    const width = Math.max(element.clientWidth, 160);
    const sizes = curves.map(({ label, lengths }) => [label, lengths.length]);
    const now = JSON.stringify([width, shortest, edits, sizes]);
    if (now === drawn) return;
    drawn = now;
    const inner = width - MARGIN.left - MARGIN.right;
    const tall = HEIGHT - MARGIN.top - MARGIN.bottom;
    const all = curves.flatMap(({ lengths }) => lengths);
    const low = Math.min(shortest, ...all) < 10 ? 0 : 1; // decades
    const high = Math.ceil(Math.log10(all.reduce((a, b) => Math.max(a, b), 100)));
    const last = curves.reduce((most, { lengths }) => Math.max(most, lengths.length), 30);
    const x = (episode) => MARGIN.left + (inner * (episode - 1)) / (last - 1);
    const y = (steps) => MARGIN.top + (tall * (high - Math.log10(steps))) / (high - low);
    const text = (name, words, at) => shape("text", { class: name, ...at }, words);
    const rule = (name, height) => shape("line",
      { class: name, x1: MARGIN.left, x2: width - MARGIN.right, y1: height, y2: height });

    const grid = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i)).flatMap((steps) => [
      rule("wm-rule", y(steps)),
      text("wm-tick", number(steps),
        { x: MARGIN.left - 6, y: y(steps) + 4, "text-anchor": "end" }),
    ]);
    const every = [5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000].find(
      (episodes) => last / episodes <= inner / 45 || episodes === 10000);
    for (let episode = every; episode <= last; episode += every) {
      grid.push(text("wm-tick", number(episode),
        { x: x(episode), y: HEIGHT - MARGIN.bottom + 16, "text-anchor": "middle" }));
    }
    grid.push(text("wm-tick", "episode",
      { x: width - MARGIN.right, y: HEIGHT - 3, "text-anchor": "end" }));
    if (Number.isFinite(shortest)) grid.push(rule("wm-shortest", y(shortest)));

    const lines = curves.map(({ lengths }, i) => {
      const points = lengths.map((steps, episode) => `${x(episode + 1)},${y(steps)}`);
      return shape("polyline", { ...styleOf(i, curves), points: points.join(" ") });
    });
    const marks = edits.map((episode) => {
      const at = x(Math.min(episode, last));
      return shape("path", { class: "wm-edit", d: `M${at} ${MARGIN.top + tall}l-5 9h10Z` });
    });
    picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    picture.setAttribute("aria-label", "Steps of each episode against episodes; in words below");
    picture.replaceChildren(...grid, ...lines, ...marks);
    const entries = curves.flatMap((curve, i) =>
      (curve.lengths.length ? [entry(styleOf(i, curves), inWords(curve))] : [])).reverse();
    if (!entries.length) entries.push(make("li", {}, "No episode of learning has ended yet."));
    if (Number.isFinite(shortest)) {
      entries.push(entry({ class: "wm-shortest" }, `shortest way: ${some(shortest, "step")}`));
    }
    if (edits.length) {
      entries.push(make("li", {}, make("span", { "aria-hidden": "true" }, "▲"), "world redrawn"));
    }
    legend.replaceChildren(...entries);
  }

  return { element, draw, remove: () => watch.disconnect() };
}

const styleOf = (i, curves) => (i === curves.length - 1
  ? { class: "wm-line wm-present" }
  : { class: "wm-line", "data-style": i % STYLES });

function entry(style, words) {
  const box = { class: "wm-swatch-line", viewBox: "0 0 28 10", "aria-hidden": "true" };
  const line = shape("polyline", { ...style, points: "0,5 28,5" });
  return make("li", {}, shape("svg", box, line), make("span", {}, words));
}

function inWords({ label, lengths }) {
  const late = lengths.slice(-10);
  const mean = late.reduce((a, b) => a + b) / late.length;
  const which = late.length === 1 ? "of" : `the last ${late.length} on average`;
  return `${label}: ${some(lengths.length, "episode")}, ${which} ${mean.toFixed(1)} steps`;
}
