// Dream quality explorer: a real episode beside the dreams of V and M under the same actions.

import "../page/page.css";
import "./explorer.css";
import { plot } from "./chart.js";
import { Random } from "../page/engine.js";
import { framesOf, partsOf } from "./episode.js";
import { Clock, button, fail, inSlices, make, mount, prefersStillness, screen, slider } from "../page/page.js";
import {
  Forecast, betterStretch, compareAll, dreamOn, runningSum, spread, stretchInWords,
} from "./quality.js";

const NAME = "Dream quality explorer";
const SETTINGS = ["horizon", "temperature", "start", "dreams", "seed"];
const MOST_DREAMS = 8;
const SEEDS = 2 ** 32 / MOST_DREAMS;
const KEPT = 8 * MOST_DREAMS; // dreams that are kept, should the reader come back to them
const SLOWER = 2; // times than the drive was, when it is played
const BETWEEN = 200; // ms from one drawing of half-finished curves to the next

const ERRORS = {
  dream: "Dreams, on average",
  band: "Best to worst",
  repeat: "Repeating the last frame",
  mean: "The average frame",
  copy: "V’s copy of the real frame",
};
const RETURNS = {
  real: "Real",
  dream: "Imagined, on average",
  band: "Lowest to highest",
};

const inErrors = (value) => (value === undefined ? "…" : value.toFixed(4));
const inRewards = (value) => (value === undefined ? "…" : value.toFixed(1).replace("-", "−"));
const after = (horizon) => `after ${horizon} ${horizon === 1 ? "decision" : "decisions"}`;

// A frame as a picture with values in [0, 1].
const pictureOf = (frame) => Float32Array.from(frame, (byte) => byte / 255);

// How many tiles stand in a row where there is room, with so many dreams; and elsewhere, how many
// dreams below the other three tiles.
const wideRow = (dreams) => (dreams <= 4 ? 3 + dreams : Math.ceil((3 + dreams) / 2));
const narrowRow = (dreams) => ([4, 7, 8].includes(dreams) ? 4 : 3);

// A picture with its name and a number below.
function tile(side, name, label) {
  const { canvas, paint } = screen(side, label);
  const note = make("span", { class: "wm-value" });
  const element = make("div", { class: "wm-tile" }, canvas,
    make("p", {}, make("span", {}, name), note));
  return { element, paint, note };
}

function begin(root, model, parts, frames) {
  const { decoder, memory, starts, repeat, mean, copy } = parts;
  const most = repeat[0].length;
  const spell = model.get("seconds_per_decision");
  const seconds = (decisions) => `${(decisions * spell).toFixed(1)}\u00a0s`;
  const several = parts.moments.some(([episode]) => episode !== parts.moments[0][0]);
  const now = Object.fromEntries(SETTINGS.map((name) => [name, model.get(name)]));
  const kept = new Map(); // forecasts by their settings
  let forecasts = [];
  let stop = () => {}; // dreaming
  let stretch = null; // in which the dreams are better, once that is known
  let waiting = 0; // decisions to be played
  let pictures = 0;
  let drawn = 0; // when the curves were, in ms

  // What is on the page.
  const real = tile(decoder.side, "Real", "The real frame at the horizon");
  const ours = tile(decoder.side, "V’s copy", "What V makes of the real frame");
  const last = tile(decoder.side, "Last seen", "The last real frame before the dream");
  const dreamed = Array.from({ length: MOST_DREAMS }, (_, d) =>
    tile(decoder.side, `Dream ${d + 1}`, `Dream ${d + 1} at the horizon`));
  const tiles = make("div", { class: "wm-tiles" },
    ...[real, ours, last, ...dreamed].map(({ element }) => element));
  const run = button("Play", () => (clock.running ? pause() : play()), { "data-main": true });
  const noise = button("New noise", () => choose("seed", (now.seed + 1) % SEEDS));
  const status = make("p", { class: "wm-status", role: "status" });
  const progress = make("p", { class: "wm-note wm-progress" });
  const range = (name, text, min, max, step, say) => slider(text, {
    min, max, step, say, value: now[name], oninput: (value) => choose(name, value),
  });
  const ranges = {
    horizon: range("horizon", "Horizon", 1, most, 1,
      (horizon) => `${horizon} ${horizon === 1 ? "decision" : "decisions"}, ${seconds(horizon)}`),
    temperature: range("temperature", "Temperature", 0.1, 2, 0.05, (value) => value.toFixed(2)),
    start: range("start", "Start", 0, starts.length - 1, 1, (row) => {
      const [episode, decision] = parts.moments[row];
      return `${several ? `episode ${episode + 1}, ` : ""}decision ${decision}`;
    }),
    dreams: range("dreams", "Dreams", 1, MOST_DREAMS, 1, String),
  };
  const pick = (decision) => choose("horizon", decision);
  const errorPlot = plot("Error of a frame", "mean squared, pixel values from 0 to 1", ERRORS, pick);
  const returnPlot = plot("Return so far", "sum of rewards", RETURNS, pick);

  root.replaceChildren(
    tiles,
    make("div", { class: "wm-reach" }, ranges.horizon.element, run),
    make("div", { class: "wm-choices" },
      ranges.temperature.element, ranges.start.element, ranges.dreams.element, noise),
    status, progress,
    make("div", { class: "wm-plots" }, errorPlot.element, returnPlot.element),
    make("p", { class: "wm-note" },
      "Under each picture stands its error. M sees no frame after the start, only the actions that ",
      "were really taken. Squared error is kind to pictures that commit to nothing, such as the ",
      "average frame or bare grass."));

  const clock = new Clock(root, tick, () => rest("Paused, out of sight,"));
  root.dataset.running = "false";
  dream();

  // A setting by the reader's hand.
  function choose(name, value) {
    if (now[name] === value) return;
    change(name, value);
    model.set(name, value);
    model.save_changes();
  }

  function change(name, value) {
    now[name] = value;
    ranges[name]?.set(value);
    if (name === "horizon") show();
    else dream();
  }

  // The forecasts of the settings, new or as they were left.
  function chosen() {
    const found = Array.from({ length: now.dreams }, (_, d) => {
      const seed = MOST_DREAMS * now.seed + d;
      const key = [now.start, now.temperature, seed].join();
      const forecast = kept.get(key) ?? new Forecast(memory, starts[now.start], new Random(seed));
      kept.delete(key);
      kept.set(key, forecast); // the latest come last
      return forecast;
    });
    for (const key of kept.keys()) if (kept.size > KEPT) kept.delete(key);
    const settings = [now.start, now.temperature, now.dreams, now.seed];
    if (settings.every((value, i) => Math.fround(value) === parts.shown.settings[i])) {
      found.forEach((forecast, d) => (forecast.errors = Array.from(parts.shown.errors[d])));
    }
    return found;
  }

  // Dream and compare, in slices; what is known already costs nothing.
  function dream() {
    stop();
    forecasts = chosen();
    stretch = null;
    delete root.dataset.compared;
    const first = parts.first[now.start];
    const actions = parts.actions.slice(first, first + most);
    const came = frames.slice(first + 1, first + 1 + most);
    const { temperature } = now;
    if (!clock.running) status.textContent = "Dreaming.";
    stop = inSlices(work(), between, done);

    function* work() {
      yield* dreamOn(forecasts, actions, temperature);
      show();
      yield* compareAll(forecasts, decoder, came);
    }
  }

  function between() {
    const count = forecasts.reduce((sum, { errors }) => sum + errors.length, 0);
    progress.textContent = `${count} of ${now.dreams * most} dreamed frames compared`;
    if (dreamt() && !prefersStillness() && performance.now() - drawn > BETWEEN) draw();
  }

  function dreamt() {
    return forecasts.every(({ codes }) => codes.length === most);
  }

  function done() {
    const errors = spread(forecasts.map((forecast) => forecast.errors)).mean;
    stretch = betterStretch(errors, repeat[now.start]);
    root.dataset.compared = now.dreams * most;
    progress.textContent = `${now.dreams * most} dreamed frames compared, `
      + `at temperature ${now.temperature.toFixed(2)}`;
    draw();
    if (!clock.running) status.textContent = verdict();
  }

  function verdict() {
    return stretch ? stretchInWords(stretch, now.dreams, most, seconds) : "Dreaming.";
  }

  // The frames at the horizon, as soon as all are dreamed that far.
  function show() {
    const { horizon, start } = now;
    if (forecasts.some(({ codes }) => codes.length < horizon)) return;
    const first = parts.first[start];
    tiles.style.setProperty("--wm-wide-row", wideRow(now.dreams));
    tiles.style.setProperty("--wm-narrow-span", 12 / narrowRow(now.dreams));
    dreamed.forEach(({ element }, d) => (element.hidden = d >= now.dreams));
    real.paint(pictureOf(frames[first + horizon]));
    last.paint(pictureOf(frames[first]));
    ours.paint(decoder.decode(parts.codes[first + horizon]));
    forecasts.forEach(({ codes }, d) => dreamed[d].paint(decoder.decode(codes[horizon - 1])));
    root.dataset.pictures = ++pictures;
    draw();
  }

  // The curves, and the numbers at the horizon.
  function draw() {
    drawn = performance.now();
    const { horizon: at, start } = now;
    const first = parts.first[start];
    const errors = spread(forecasts.map((forecast) => forecast.errors));
    const returns = spread(forecasts.map(({ rewards }) => runningSum(dreamt() ? rewards : [])));
    const truly = runningSum(parts.rewards.slice(first, first + most));
    const fromTo = ({ low, high }, say) =>
      (low.length < at ? "…" : `${say(low[at - 1])} to ${say(high[at - 1])}`);
    const { until = null } = stretch ?? {};
    const mark = until === null ? null
      : { decision: until, text: until ? `no better after ${until}` : "never better" };
    errorPlot.draw({
      most, at, mark, band: errors,
      curves: [
        { kind: "mean", values: mean[start] }, { kind: "copy", values: copy[start] },
        { kind: "repeat", values: repeat[start] }, { kind: "dream", values: errors.mean },
      ],
    }, `Error ${after(at)}`, {
      dream: inErrors(errors.mean[at - 1]),
      band: fromTo(errors, inErrors),
      repeat: inErrors(repeat[start][at - 1]),
      mean: inErrors(mean[start][at - 1]),
      copy: inErrors(copy[start][at - 1]),
    });
    returnPlot.draw({
      most, at, band: returns,
      curves: [{ kind: "real", values: truly }, { kind: "dream", values: returns.mean }],
    }, `Return ${after(at)}`, {
      real: inRewards(truly[at - 1]),
      dream: inRewards(returns.mean[at - 1]),
      band: fromTo(returns, inRewards),
    });
    real.note.textContent = seconds(at);
    ours.note.textContent = inErrors(copy[start][at - 1]);
    last.note.textContent = inErrors(repeat[start][at - 1]);
    forecasts.forEach(({ errors: found }, d) => (dreamed[d].note.textContent = inErrors(found[at - 1])));
  }

  function play() {
    if (now.horizon === most) change("horizon", 1);
    run.textContent = "Pause";
    root.dataset.running = "true";
    status.textContent = `Playing, ${SLOWER} times slower than the drive was.`;
    waiting = 0;
    clock.start();
  }

  function pause() {
    clock.stop();
    rest("Paused");
  }

  function rest(why) {
    run.textContent = "Play";
    root.dataset.running = "false";
    status.textContent = `${why} ${after(now.horizon)}. ${verdict()}`;
    model.set("horizon", now.horizon);
    model.save_changes();
  }

  // One decision further whenever its time has come.
  function tick(passed) {
    waiting = Math.min(waiting + passed / (SLOWER * spell), 2);
    const further = Math.floor(waiting);
    waiting -= further;
    if (further) change("horizon", Math.min(now.horizon + further, most));
    if (now.horizon < most) return;
    clock.stop();
    rest("The end,");
  }

  root.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && clock.running) pause();
  });
  const fromPython = SETTINGS.map((name) => {
    const call = () => now[name] !== model.get(name) && change(name, model.get(name));
    model.on(`change:${name}`, call);
    return [`change:${name}`, call];
  });

  return () => {
    stop();
    clock.remove();
    errorPlot.remove();
    returnPlot.remove();
    fromPython.forEach(([event, call]) => model.off(event, call));
  };
}

function build(root, model) {
  const parts = partsOf(model.get("weights"));
  let end = () => {};
  let gone = false;
  framesOf(model.get("frames"), parts.decoder.side, parts.codes.length)
    .then((frames) => {
      if (!gone) end = begin(root, model, parts, frames);
    })
    .catch((error) => fail(root, NAME, error));
  return () => {
    gone = true;
    end();
  };
}

export default {
  render: ({ model, el }) => mount(el, NAME, (root) => build(root, model)),
};
