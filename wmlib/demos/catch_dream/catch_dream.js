// Play Catch in a dream: the reader, or the agent, at the paddle of a game that DreamerV3 imagines.

import "../page/page.css";
import "./catch_dream.css";
import { Random, unpack } from "../page/engine.js";
import { Clock, button, fact, make, mount, screen, slider } from "../page/page.js";
import { DreamerV3, read, startsOf } from "./rssm.js";

const NAME = "Play Catch in a dream";
const MOVES = [
  { text: "◀ Left", name: "left", keys: ["arrowleft", "a"] },
  { text: "Stay", name: "stay", keys: ["s"] }, // the arrow down is the page's: it scrolls
  { text: "Right ▶", name: "right", keys: ["arrowright", "d"] },
];
const MOST = 30; // moves of a dream that never says it is over
const BRIGHT = 0.5; // light from which on a ball is one

const number = (value) => (Math.abs(value) < 0.005 ? 0 : value).toFixed(2).replace("-", "−");
const percent = (share) => `${(100 * share).toFixed(share > 0.001 && share < 0.999 ? 1 : 0)} %`;

function build(root, model) {
  const { header, arrays } = unpack(model.get("weights"));
  const agent = new DreamerV3(arrays, header);
  const starts = startsOf(arrays, header);
  const { side } = header.board;
  let startNow = model.get("start");
  let seedNow = model.get("seed");
  let state, seen, random, moves, total, ended, waiting;
  let pace = 2;
  let pictures = 0;

  // What is on the page.
  const { canvas, paint } = screen(side, "What the model paints of its dream");
  const status = make("p", { class: "wm-status", role: "status" });
  const run = button("Let the agent play", () => (clock.running ? pause() : play()), { "data-main": true });
  const step = button("One move of the agent", () => {
    pause();
    move(seen.choice, "The agent");
  });
  const again = button("The same game", () => reset(startNow, seedNow));
  const next = button("New game", another);
  const paddles = MOVES.map(({ text, name }, action) =>
    button(text, () => mine(action), { "data-move": name }));
  const speed = slider("Moves of the agent in a second", {
    min: 0.5, max: 4, step: 0.5, value: pace, say: String, oninput: (value) => (pace = value),
  });
  const facts = {
    moves: fact("Moves so far"),
    reward: fact("Believed reward of the last move"),
    total: fact("Believed return so far"),
    goesOn: fact("Believed chance that it goes on"),
    choice: fact("The agent would move"),
  };

  root.append(
    make("div", { class: "wm-board" },
      make("div", {},
        make("div", { class: "wm-screen wm-pixels" }, canvas),
        make("div", { class: "wm-moves", role: "group", "aria-label": "Paddle" }, ...paddles),
        status,
        make("p", { class: "wm-note" },
          "Keys, while the demo has the focus: ← and →, or A and D; S stays; Escape pauses the agent.")),
      make("div", {},
        make("div", { class: "wm-row" }, run, step, again, next),
        speed.element,
        make("div", { class: "wm-facts" }, ...Object.values(facts).map(({ element }) => element)),
        make("p", { class: "wm-note" },
          "No game runs here. Every picture and every number is what the model takes to be so."))));

  const clock = new Clock(root, tick, () => rest("Paused, out of sight."));
  root.dataset.running = "false";
  reset(startNow, seedNow);

  // A ball in that column, and those dice.
  function reset(start, seed) {
    clock.stop();
    [startNow, seedNow] = [start, seed];
    state = starts[start];
    random = new Random(seed);
    [moves, total, ended, waiting] = [[], 0, false, 0];
    model.set("start", start);
    show();
    rest(`A new game. ${whereabouts()} Move the paddle, or let the agent play.`);
  }

  function another() {
    reset((startNow + 1) % starts.length, (seedNow + 1) >>> 0);
  }

  function play() {
    if (ended) another();
    run.textContent = "Pause";
    root.dataset.running = "true";
    status.textContent = "The agent plays. A move of yours takes over.";
    waiting = 0;
    clock.start();
  }

  function pause() {
    if (!clock.running) return;
    clock.stop();
    rest(`Paused. ${whereabouts()}`);
  }

  // The agent rests, and the page says so.
  function rest(words) {
    run.textContent = ended ? "Let the agent play again" : "Let the agent play";
    root.dataset.running = "false";
    status.textContent = words;
    model.set("moves", moves);
    model.set("believed_return", total);
    model.save_changes();
  }

  function tick(passed) {
    waiting += passed * pace;
    if (waiting < 1) return;
    waiting = 0;
    move(seen.choice, "The agent");
  }

  function mine(action) {
    clock.stop();
    move(action, "You");
  }

  function move(action, who) {
    if (ended) {
      another();
      return;
    }
    state = agent.imagine(state, action, () => random.uniform());
    moves = [...moves, action];
    show();
    total += seen.reward;
    ended = seen.goesOn < 0.5 || moves.length === MOST;
    write();
    if (ended) {
      clock.stop();
      rest(verdict());
    } else if (!clock.running) {
      rest(`${who}: ${MOVES[action].name}. ${whereabouts()}`);
    }
  }

  function verdict() {
    if (seen.goesOn >= 0.5) return `After ${MOST} moves the dream still says that the game goes on.`;
    const moved = `${moves.length} ${moves.length === 1 ? "move" : "moves"}`;
    return `The dream says that the game is over, after ${moved}, and pays `
      + `${number(seen.reward)}. ${whereabouts()}`;
  }

  // The picture in words.
  function whereabouts() {
    const { ball, paddle } = read(seen.picture, header.board);
    const where = ball.light < BRIGHT ? "No ball can be made out" :
      `Ball in row ${ball.row + 1} of ${header.board.rows}, column ${ball.column + 1}`;
    const below = paddle.light < BRIGHT ? "no paddle" : `paddle in column ${paddle.column + 1}`;
    return `${where}; ${below}.`;
  }

  function show() {
    seen = agent.look(state);
    const colours = new Float32Array(3 * side * side);
    seen.picture.forEach((light, i) => colours.fill(light, 3 * i, 3 * i + 3));
    paint(colours);
    root.dataset.moves = moves.length;
    root.dataset.painted = ++pictures;
    write();
  }

  function write() {
    const begun = moves.length > 0;
    facts.moves.value.textContent = moves.length;
    facts.reward.value.textContent = begun ? number(seen.reward) : "–";
    facts.total.value.textContent = number(total);
    facts.goesOn.value.textContent = percent(seen.goesOn);
    facts.choice.value.textContent = ended ? "–" : ["left", "not", "right"][seen.choice];
  }

  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input")) return;
    const action = MOVES.findIndex(({ keys }) => keys.includes(event.key.toLowerCase()));
    if (action >= 0) {
      event.preventDefault(); // the page does not scroll while its reader plays
      mine(action);
    } else if (event.key === "Escape") pause();
  });
  const fromPython = () => model.get("start") !== startNow && reset(model.get("start"), seedNow);
  model.on("change:start", fromPython);
  return () => {
    clock.remove();
    model.off("change:start", fromPython);
  };
}

export default {
  render: ({ model, el }) => mount(el, NAME, (root) => build(root, model)),
};
