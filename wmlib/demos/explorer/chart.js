// Curves over the decisions ahead, drawn as SVG in the size that the page leaves them.

import { fact, make, shape } from "../page/page.js";

const HEIGHT = 220; // CSS pixels
const MARGIN = { left: 46, right: 12, top: 22, bottom: 38 };
const LETTER = 6.6; // about the width of a letter, to keep a label inside

// Round numbers from `low` to `high`, both ends beyond them: {ticks, digits}.
function roundTicks(low, high) {
  const rough = Math.max(high - low, 1e-9) / 4;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 2.5, 5, 10].find((n) => n * unit >= rough * 0.999);
  const first = Math.floor(low / step + 1e-9);
  const count = Math.ceil(high / step - 1e-9) - first;
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) + (String(step).includes("25") ? 1 : 0);
  return { ticks: Array.from({ length: count + 1 }, (_, i) => (first + i) * step), digits };
}

// {element, draw, remove}. `onpick(decision)` when the reader points at a moment with mouse, pen or
// finger. draw({most, curves, band, at, mark}) takes curves [{kind, values}] and band {low, high},
// whose first number stands `1` decision ahead; `at`, a decision, is marked by a line and, if it is
// given, so is `mark: {decision, text}`. Colours and dashes belong to the kind, in the style sheet.
function chart(label, onpick) {
  const picture = shape("svg", { class: "wm-chart", role: "img", "aria-label": label, height: HEIGHT });
  const element = make("div", { class: "wm-chart-box" }, picture);
  let latest = null;
  let place = null; // from a decision to its x, and back
  const pick = (event) => {
    if (!latest) return;
    const x = event.clientX - picture.getBoundingClientRect().left;
    onpick(Math.min(Math.max(Math.round(place.back(x)), 1), latest.most));
  };
  picture.addEventListener("click", pick);
  picture.addEventListener("pointermove", (event) => {
    if (event.buttons && event.pointerType !== "touch") pick(event); // a finger scrolls
  });
  const watch = new ResizeObserver(() => latest && draw(latest));
  watch.observe(element);

  function draw(given) {
    latest = given;
    const { most, curves, band, at, mark } = given;
    const width = Math.max(element.clientWidth, 200);
    const inner = width - MARGIN.left - MARGIN.right;
    const floor = HEIGHT - MARGIN.bottom;
    const numbers = [0, ...curves.flatMap(({ values }) => Array.from(values)), ...band.low, ...band.high];
    const { ticks, digits } = roundTicks(Math.min(...numbers), Math.max(...numbers));
    const [low, high] = [ticks[0], ticks.at(-1)];
    const x = (decision) => MARGIN.left + (inner * decision) / most;
    const y = (value) => floor - ((floor - MARGIN.top) * (value - low)) / (high - low);
    place = { back: (across) => ((across - MARGIN.left) * most) / inner };
    const points = (values) => Array.from(values, (value, i) => `${x(i + 1)},${y(value)}`);
    const text = (words, across, down, anchor) =>
      shape("text", { x: across, y: down, "text-anchor": anchor }, words);
    const upright = (name, decision) =>
      shape("line", { class: name, x1: x(decision), x2: x(decision), y1: MARGIN.top, y2: floor });

    const grid = ticks.flatMap((tick) => [
      shape("line", {
        class: Math.abs(tick) < 1e-9 ? "wm-chart-zero" : "wm-chart-rule",
        x1: MARGIN.left, x2: width - MARGIN.right, y1: y(tick), y2: y(tick),
      }),
      text(tick.toFixed(digits).replace("-", "−"), MARGIN.left - 6, y(tick) + 4, "end"),
    ]);
    const every = [1, 2, 5, 10, 20, 25, 50].find((n) => (inner * n) / most >= 34) ?? 100;
    for (let decision = 0; decision <= most; decision += every) {
      grid.push(text(String(decision), x(decision), floor + 15, "middle"));
    }
    grid.push(text("decisions ahead", width - MARGIN.right, HEIGHT - 6, "end"));

    const area = shape("polygon", {
      class: "wm-chart-band", points: [...points(band.low), ...points(band.high).reverse()].join(" "),
    });
    const lines = curves.map(({ kind, values }) =>
      shape("polyline", { class: "wm-chart-curve", "data-kind": kind, points: points(values).join(" ") }));
    const dots = curves.filter(({ values }) => values.length >= at).map(({ kind, values }) =>
      shape("circle", { class: "wm-chart-dot", "data-kind": kind, cx: x(at), cy: y(values[at - 1]), r: 3.5 }));
    const marks = [];
    if (mark) {
      const left = x(mark.decision) + LETTER * mark.text.length > width;
      marks.push(upright("wm-chart-mark", mark.decision),
        text(mark.text, x(mark.decision) + (left ? 3 : -3), MARGIN.top - 8, left ? "end" : "start"));
    }
    picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    picture.replaceChildren(...grid, area, ...lines, ...marks, upright("wm-chart-at", at), ...dots);
  }

  return { element, draw, remove: () => watch.disconnect() };
}

// A chart with its title and its legend, which has the numbers at one decision. `names` says what each
// kind is called; draw(drawing, words, values) says which decision and sets the numbers, as text.
export function plot(title, unit, names, onpick) {
  const curves = chart(`${title}, ${unit}. The numbers at the horizon stand below.`, onpick);
  const caption = make("p", { class: "wm-note" });
  const rows = Object.fromEntries(Object.entries(names).map(([kind, name]) =>
    [kind, fact(make("span", { class: "wm-key-of-curve" }, swatch(kind), name))]));
  const element = make("div", { class: "wm-plot-of-decisions" },
    make("p", { class: "wm-plot-title" }, title), make("p", { class: "wm-note" }, unit),
    curves.element,
    caption, ...Object.values(rows).map((row) => row.element));
  const draw = (drawing, words, values) => {
    curves.draw(drawing);
    caption.textContent = words;
    for (const [kind, row] of Object.entries(rows)) row.value.textContent = values[kind];
  };
  return { element, draw, remove: curves.remove };
}

// A piece of a curve, or of the band.
function swatch(kind) {
  return shape("svg", { class: "wm-chart-swatch", viewBox: "0 0 30 12", "aria-hidden": "true" },
    kind === "band" ? shape("rect", { class: "wm-chart-band", y: 1, width: 30, height: 10 })
      : shape("polyline", { class: "wm-chart-curve", "data-kind": kind, points: "0,6 30,6" }));
}
