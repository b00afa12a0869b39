// World Model Playground: an agent in a real world, and what it believes of it.

import "../page/page.css";
import "./playground.css";
import { asText, beliefGrid } from "./belief.js";
import { learningCurve } from "./curve.js";
import { ACTIONS, Maze } from "./dyna.js";
import { Life, number, some } from "./life.js";
import { button, Clock, fact, make, mount, prefersStillness, slider } from "../page/page.js";
import { Pencil, worldGrid } from "./world.js";

const MOST_UPDATES = 50;
const SPEEDS = [1, 2, 5, 10, 20, 50, 100, 200, 500, Infinity]; // steps a second; Infinity: at once
const PACES = { explore: 3, dream: 3, plan: 2, learn: 6 }; // which of these at first
const GLIDE = 20; // steps a second up to which the agent is shown between cells
const SEEDS = 2 ** 32;

function build(root, model) {
  const drawing = model.get("maze");
  const maze = new Maze(drawing);
  let kappa = model.get("bonus") || model.get("kappa"); // the bonus, when it is on
  let curves = []; // of earlier agents
  let life = null;
  let ours = false; // whether it is this page that changes a setting, not Python
  let waiting = 0; // steps
  let pictures = 0;

  // What is on the page.
  const choices = (texts, onclick) => Object.fromEntries(Object.entries(texts).map(
    ([name, text]) => [name, button(text, () => onclick(name), { "aria-pressed": "false" })]));
  const mark = (buttons, chosen) => Object.entries(buttons).forEach(
    ([name, element]) => element.setAttribute("aria-pressed", String(name === chosen)));
  const activities =
    choices({ explore: "Explore", dream: "Dream", plan: "Plan", learn: "Learn" }, choose);
  const tools = choices({ walls: "Walls", start: "Start S", goal: "Goal G" }, take);
  const run = button("Start", () => (clock.running ? pause() : start()), { "data-main": true });
  const step = button("One step", single);
  const renew = button("New agent", () =>
    another("A new agent, which knows nothing. The curves stay."));
  const again = button("Reset", reset);
  const status = make("p", { class: "wm-status", role: "status" });
  const alarm = make("p", { class: "wm-alarm", role: "alert" });
  const pencil = new Pencil(maze, changed, say);
  const world =
    worldGrid(maze, (...press) => pencil.brush(...press), () => clock.running || finish());
  const belief = beliefGrid(maze);
  const curve = learningCurve();
  const facts = Object.fromEntries([
    "Real steps", "Episode", "Imagined updates", "Pairs tried", "Pairs wrong by now", "Last surprise",
  ].map((name) => [name, fact(name)]));
  const updates = slider("Imagined updates k for each real step", {
    min: 0, max: MOST_UPDATES, step: 1, value: model.get("updates"), oninput: () => {},
  });
  updates.input.addEventListener("change", () => setUpdates(updates.input.valueAsNumber));
  const speed = slider("Speed", {
    min: 0, max: SPEEDS.length - 1, step: 1, value: 0,
    say: (i) => (SPEEDS[i] === Infinity ? "at once" : `${some(SPEEDS[i], "step")} a second`),
    oninput: (i) => {
      paces[life.activity] = i;
      if (SPEEDS[i] === Infinity && clock.running) pause();
    },
  });
  const bonus = make("input", {
    type: "checkbox", onchange: () => setBonus(bonus.checked ? kappa : 0),
  });
  const seed = make("input", {
    type: "number", min: 0, max: SEEDS - 1, step: 1, onchange: () => setSeed(seed.valueAsNumber),
  });
  const text = make("pre", { tabindex: 0, "aria-label": "The belief as text" });
  const row = (name, buttons, more = "") => make(
    "div", { class: `wm-row ${more}`, role: "group", "aria-label": name }, ...Object.values(buttons));
  const list = (...names) =>
    make("div", { class: "wm-facts" }, ...names.map((name) => facts[name].element));
  const title = (words) => make("p", { class: "wm-title" }, words);

  root.append(
    row("What the agent does", activities, "wm-deck"),
    row("Run", { run, step, renew, again }, "wm-deck"),
    status,
    make("div", { class: "wm-worlds" },
      make("div", {},
        title("The real world"),
        world.element,
        row("Draw in the real world", tools),
        alarm,
        make("p", { class: "wm-note" },
          "Draw with the mouse or by taps. By keyboard: arrow keys move in the grid, " +
          "Enter or Space draws.")),
      make("div", {},
        title("What the agent believes"),
        belief.element,
        make("p", { class: "wm-note" }, "A pair is a cell and an action: a triangle."),
        belief.key)),
    make("div", { class: "wm-settings" },
      list("Real steps", "Episode", "Imagined updates"),
      list("Pairs tried", "Pairs wrong by now", "Last surprise")),
    make("div", { class: "wm-settings" },
      updates.element, speed.element,
      make("label", { class: "wm-check" }, bonus, "Bonus for what was not tried for long (Dyna-Q+)"),
      make("label", { class: "wm-check" }, "Seed", seed)),
    title("Steps of each episode of learning, on a logarithmic scale"),
    curve.element,
    make("details", { class: "wm-more" },
      make("summary", {}, "The belief as text"),
      make("p", { class: "wm-note" },
        "S start, G goal, . entered, # bumped into and never entered, ? nothing known."),
      text));

  const clock = new Clock(root, tick, () => settle(`${life.sofar()} It was out of sight.`));
  const paces = Object.fromEntries(Object.entries(PACES).map(
    ([name, i]) => [name, prefersStillness() ? SPEEDS.length - 1 : i]));
  bonus.checked = model.get("bonus") > 0;
  seed.value = model.get("seed");
  take("walls");
  another("Press Explore: the agent wanders, and the belief fills in.");

  // --- agents

  // A new agent takes the place of the present one, whose curve stays.
  function another(words) {
    if (life?.agent.lengths.length) curves.push(life.story);
    const activity = life?.activity ?? "explore";
    const names = ["updates", "bonus", "step_size", "discount", "exploration"];
    const config = Object.fromEntries(names.map((name) => [name, model.get(name)]));
    life = new Life(maze, config, model.get("seed"));
    mode(activity);
    settle(words);
  }

  function reset() {
    maze.draw(drawing);
    world.redraw();
    curves = [];
    life = null;
    another("All as at first: the world, and an agent that knows nothing.");
  }

  // An agent that has learned with one k would draw no fair curve with another.
  function setUpdates(k) {
    if (k === life.agent.config.updates) return;
    const running = clock.running;
    share("updates", k);
    if (life.learned) another(`A new agent, with k = ${k}. It knows nothing. The curves stay.`);
    life.agent.config.updates = k;
    finish();
    if (running) start();
  }

  function setBonus(value) {
    if (value === life.agent.config.bonus) return;
    life.reward(value);
    share("bonus", value);
    say(value
      ? "Dyna-Q+: in imagination a pair pays more, the longer ago it was tried."
      : "Dyna-Q: in imagination a pair pays what it paid in the real world.");
    finish();
  }

  function setSeed(value) {
    if (Number.isInteger(value) && value >= 0 && value < SEEDS) {
      share("seed", value);
      another(`A new agent, with seed ${value}.`);
    } else {
      seed.value = life.agent.seed;
      say(`A seed is a whole number from 0 to ${number(SEEDS - 1)}.`);
    }
  }

  // --- the real world redrawn

  function take(tool) {
    pencil.tool = tool;
    mark(tools, tool);
  }

  function changed(words) {
    world.redraw();
    life.redrawn();
    show();
    const { wrong } = life.pairs;
    say(wrong ? `${words} The model is wrong about ${some(wrong, "pair")} now.` : words);
  }

  // --- running

  function mode(activity) {
    life.choose(activity);
    mark(activities, activity);
    speed.set(paces[activity]);
  }

  function choose(activity) {
    clock.stop();
    mode(activity);
    start();
  }

  function start() {
    if (SPEEDS[paces[life.activity]] === Infinity) {
      settle(life.atOnce());
      return;
    }
    waiting = 1;
    run.textContent = "Pause";
    root.dataset.running = "true";
    say(life.doing());
    clock.start();
  }

  function pause() {
    settle(life.sofar());
  }

  function single() {
    const over = life.advance();
    settle(over ?? life.stepped());
  }

  function tick(passed) {
    const rate = SPEEDS[paces[life.activity]];
    let moved = false;
    let over = null;
    waiting = Math.min(waiting + passed * rate, 1 + rate / 20);
    for (; waiting >= 1 && over === null; waiting--, moved = true) over = life.advance();
    const part = rate > GLIDE || prefersStillness() || life.activity === "dream" ? 1 : waiting;
    if (over !== null) settle(over);
    else if (moved) show(part);
    else if (part < 1) place(part);
  }

  // At rest.
  function settle(words) {
    clock.stop();
    run.textContent = "Start";
    root.dataset.running = "false";
    say(words);
    finish();
  }

  // --- showing

  function say(words) {
    status.textContent = words;
  }

  // The agent, so much of the way from cell to cell.
  function place(part) {
    const { from, to } = life.last;
    world.place(from, to, part);
    belief.place(from, to, part);
    root.dataset.pictures = ++pictures;
  }

  function show(part = 1) {
    const { agent, pairs, shortest } = life;
    place(part);
    world.trail(life.trail);
    belief.redraw(agent.model, life.values);
    belief.ways(life.dreams, life.dreamt, life.way);
    belief.dots(life.dots);
    curve.draw([...curves, life.story], shortest, life.edits);
    Object.entries({
      "Real steps": number(agent.model.time),
      Episode: number(agent.lengths.length + 1),
      "Imagined updates": number(agent.updates),
      "Pairs tried": `${number(pairs.tried)} of ${number(pairs.all)}`,
      "Pairs wrong by now": number(pairs.wrong),
      "Last surprise": life.surprise ?? "–",
    }).forEach(([name, value]) => (facts[name].value.textContent = value));
    const closed = "No path leads from the start S to a goal G, so no episode can end. Open a wall.";
    const warning = shortest === Infinity ? closed : "";
    if (alarm.textContent !== warning) alarm.textContent = warning;
    root.dataset.steps = agent.model.time;
    root.dataset.episodes = agent.lengths.length;
  }

  // What a page at rest shows besides, and what Python may know of it.
  function finish() {
    const { agent, pairs, route } = life;
    show();
    text.textContent = asText(maze, agent.model);
    belief.say(`What the agent believes: ${pairs.tried} of ${pairs.all} pairs of a cell and an ` +
      `action tried, ${pairs.wrong} wrong by now. As text at the end of this demo.`);
    const rows = (flat) => Array.from({ length: maze.states }, (_, state) =>
      Array.from(flat.subarray(state * ACTIONS.length, (state + 1) * ACTIONS.length)));
    const { tried, lastTried, rewards } = agent.model;
    model.set("maze", String(maze));
    model.set("belief", {
      tried: rows(tried),
      last_tried: rows(lastTried),
      next_states: rows(agent.model.nextStates()),
      rewards: rows(rewards),
    });
    model.set("values", rows(agent.values));
    model.set("plan", route ? route.path : []);
    model.set("curves", [...curves, life.story]);
    model.save_changes();
  }

  function share(name, value) {
    ours = true;
    model.set(name, value);
    ours = false;
    model.save_changes();
  }

  // --- the rest

  root.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && clock.running) pause();
  });
  const listeners = Object.entries({
    maze: () => {
      if (model.get("maze") === String(maze)) return;
      maze.draw(model.get("maze"));
      changed("Python has redrawn the world.");
      if (!clock.running) finish();
    },
    updates: () => {
      updates.set(model.get("updates"));
      setUpdates(model.get("updates"));
    },
    bonus: () => {
      kappa = model.get("bonus") || kappa;
      bonus.checked = model.get("bonus") > 0;
      setBonus(model.get("bonus"));
    },
    seed: () => {
      seed.value = model.get("seed");
      setSeed(model.get("seed"));
    },
  }).map(([name, listener]) => [`change:${name}`, () => ours || listener()]);
  for (const [name, listener] of listeners) model.on(name, listener);
  return () => {
    clock.remove();
    curve.remove();
    for (const [name, listener] of listeners) model.off(name, listener);
  };
}

export default {
  render: ({ model, el }) => mount(el, "World Model Playground", (root) => build(root, model)),
};
