// Play a board game against MuZero, and watch its tree grow while it thinks.

import "../page/page.css";
import "./muzero_board.css";
import { unpack } from "../page/engine.js";
import { Clock, button, fact, make, mount, prefersStillness, slider } from "../page/page.js";
import { MuZero, think, withoutPolicy } from "./muzero.js";
import { Rules, SIDES, turnAfter } from "./rules.js";
import { percent, signed, treePicture } from "./tree.js";

const MOST = 200; // simulations
const SECONDS = 1.5; // that a thought takes on the page
const BUDGET = 12; // milliseconds of a frame in which the tree may grow
const EVERY = 0.12; // seconds between two pictures of a tree
const REST = 0.8; // seconds between two moves when it plays both sides

function build(root, model) {
  const { header, arrays } = unpack(model.get("weights"));
  const agent = new MuZero(arrays, header);
  const blind = withoutPolicy(agent);
  const rules = new Rules(header);
  let moves = [...model.get("moves")];
  let simulations = model.get("simulations");
  let mine = 1; // the reader's side: X
  let both = false; // whether it plays both sides
  let asked = true; // whether its policy has a say
  let thought = null; // {tree, cells, turn} of the last search
  let owed, undrawn, resting;

  // What is on the page.
  const cellsShown = Array.from({ length: rules.size }, () => make("span", { class: "wm-cell" }));
  const places = Array.from({ length: rules.actions }, (_, action) =>
    make("button", { type: "button", class: "wm-place", onclick: () => place(action) },
      ...rules.cellsOf(action).map((cell) => cellsShown[cell])));
  const status = make("p", { class: "wm-status", role: "status" });
  const alone = button("Let it play both sides", () => (clock.running && both ? pause() : playBoth()), { "data-main": true });
  const once = button("Let it move", () => {
    both = false;
    if (now().over) say(verdict());
    else begin();
  });
  const back = button("Take back", takeBack);
  const first = button("New game: you begin", () => reset(1));
  const second = button("New game: it begins", () => {
    reset(-1);
    begin();
  });
  const depth = slider("Simulations before a move", {
    min: 0, max: MOST, step: 1, value: simulations, say: String,
    oninput: (value) => {
      simulations = value;
      model.set("simulations", value);
      model.save_changes();
    },
  });
  const policy = button("Without its policy", () => {
    asked = !asked;
    policy.setAttribute("aria-pressed", String(!asked));
  }, { "aria-pressed": "false" });
  const facts = {
    count: fact("Simulations of this thought"),
    value: fact("What it expects, from −1 to +1"),
    beyond: fact(`Nodes past the end, or ${rules.drops ? "in full columns" : "on taken cells"}`),
  };
  const picture = treePicture(rules);
  const rows = make("tbody");
  const table = make("details", { class: "wm-more" },
    make("summary", {}, "The moves at the root, in numbers"),
    make("table", { class: "wm-numbers" },
      make("thead", {}, make("tr", {}, ...["Move", "Policy", "Visits", "It earned"].map((name) =>
        make("th", { scope: "col" }, name)))),
      rows));

  root.append(
    make("div", { class: "wm-board" },
      make("div", {},
        make("div", {
          class: rules.drops ? "wm-places wm-drops" : "wm-places",
          style: `--wm-columns: ${rules.columns}`,
          role: "group",
          "aria-label": rules.drops ? "Board, each column from below" : "Board",
        }, ...places),
        status),
      make("div", {},
        make("div", { class: "wm-row" }, first, second, back, once, alone),
        depth.element,
        make("div", { class: "wm-row" }, policy),
        make("div", { class: "wm-facts" }, ...Object.values(facts).map(({ element }) => element)),
        make("p", { class: "wm-note" },
          "Keys, while the demo has the focus: Tab and Enter to move, Escape stops it."))),
    picture.element,
    make("p", { class: "wm-note" },
      (agent.probe
        ? "Each node is drawn as a probe reads its hidden state: nobody asked the model to know the board. "
        : "Each node is drawn by the rules, which the page knows; the model has its hidden state, and no rules. "
        + "A mark above it points at the column of the last move. ")
      + "Below it stand its visits, what the move earned for who made it, and the policy’s share. The wider "
      + `an edge, the larger that share. Dashed: by the rules the game is over there, or ${rules.taken}. `
      + "The nodes that were visited most are drawn."),
    table);

  const clock = new Clock(root, tick, () => rest("Paused, out of sight."));
  root.dataset.running = "false";
  show();
  say(now().over ? verdict() : "Make a move, or let it begin.");

  // Where the game stands.
  function now() {
    const cells = rules.after(moves);
    return { cells, turn: turnAfter(moves.length), ...rules.outcome(cells) };
  }

  function reset(side) {
    stop();
    [mine, both, thought] = [side, false, null];
    set([]);
    say(side > 0 ? "A new game. You are X, and begin." : "A new game. You are O.");
  }

  // The reader moves.
  function place(action) {
    const { cells, turn, over } = now();
    if (over) return say(`${verdict()} Begin a new game, or take back.`);
    if (rules.landing(cells, action) === undefined) {
      return say(rules.drops ? `Column ${action + 1} is full.` : `The ${rules.named(action)} is taken.`);
    }
    stop();
    both = false;
    mine = turn; // whoever moves for a side has it
    set([...moves, action]);
    if (now().over) say(verdict());
    else begin();
    return undefined;
  }

  function takeBack() {
    stop();
    both = false;
    if (!moves.length) return say("There is no move to take back.");
    let kept = moves.slice(0, -1);
    if (kept.length && turnAfter(kept.length) !== mine) kept = kept.slice(0, -1);
    thought = null;
    set(kept);
    say(turnAfter(kept.length) === mine ? "Taken back. You are to move." : "Taken back. Let it move.");
    return undefined;
  }

  function playBoth() {
    if (now().over) reset(mine);
    both = true;
    begin();
  }

  // It begins to think.
  function begin() {
    const { cells, turn } = now();
    const seen = cells.map((c) => (c ? c * turn : 0)); // by who is to move
    thought = { tree: think(asked ? agent : blind, seen, rules.legal(cells)), cells, turn };
    [owed, undrawn, resting] = [0, 0, 0];
    alone.textContent = both ? "Pause" : "Let it play both sides";
    root.dataset.running = "true";
    status.textContent = both ? "It plays both sides. A move of yours takes over." : "It thinks.";
    draw();
    clock.start();
  }

  // As time goes by: some simulations, but not for long, a picture now and then, and in the end a
  // move.
  function tick(passed) {
    if (resting > 0) {
      resting -= passed;
      if (resting <= 0) begin();
      return;
    }
    const { tree } = thought;
    const grown = () => tree.nodes.length - 1;
    const still = prefersStillness();
    owed = still ? simulations : owed + (passed * Math.max(simulations, 10)) / SECONDS;
    const end = performance.now() + BUDGET;
    while (grown() < Math.min(owed, simulations)) {
      tree.grow();
      if (performance.now() >= end) break;
    }
    if (grown() >= simulations) return decide();
    undrawn += passed;
    if (still || undrawn < EVERY) return;
    undrawn = 0;
    draw();
  }

  function decide() {
    const { tree, turn } = thought;
    const action = tree.choice;
    model.set("visits", Array.from(tree.root.n));
    set([...moves, action]);
    const moved = `${SIDES[turn]}: ${rules.named(action)}.`;
    if (now().over) {
      stop();
      say(`${moved} ${verdict()}`);
    } else if (both) {
      status.textContent = `${moved} It plays both sides. A move of yours takes over.`;
      resting = REST;
    } else {
      stop();
      mine = -turn;
      say(`It moves, ${moved} You are to move.`);
    }
  }

  function pause() {
    if (!clock.running) return;
    stop();
    both = false;
    say("Paused. Make a move, or let it go on.");
  }

  function stop() {
    clock.stop();
    alone.textContent = "Let it play both sides";
    root.dataset.running = "false";
  }

  // The clock rests by itself.
  function rest(words) {
    stop();
    both = false;
    say(words);
  }

  function say(words) {
    status.textContent = words;
  }

  function verdict() {
    const { winner } = now();
    return winner ? `${rules.won}: ${SIDES[winner]} wins.` : "A draw.";
  }

  // The moves so far, on the page and in Python.
  function set(next) {
    moves = next;
    model.set("moves", moves);
    model.save_changes();
    show();
  }

  function show() {
    const { cells, line } = now();
    const last = moves.length ? rules.landing(rules.after(moves.slice(0, -1)), moves.at(-1)) : null;
    cellsShown.forEach((element, cell) => {
      element.textContent = element.dataset.side = SIDES[cells[cell]];
      element.classList.toggle("wm-last", cell === last);
      element.classList.toggle("wm-won", line.includes(cell));
    });
    places.forEach((element, action) => {
      const stones = rules.cellsOf(action).reverse().map((cell) => SIDES[cells[cell]]).filter(Boolean);
      element.setAttribute("aria-label", `${rules.named(action)}: ${stones.join(", ") || "empty"}`);
    });
    root.dataset.moves = moves.length;
    draw();
  }

  // The tree, and what it says in numbers.
  function draw() {
    if (!thought) {
      picture.clear();
      rows.replaceChildren();
      for (const { value } of Object.values(facts)) value.textContent = "–";
      root.dataset.nodes = 0;
      return;
    }
    const { tree, cells, turn } = thought;
    const { n, q, prior, value } = tree.root;
    const count = tree.nodes.length - 1;
    picture.draw(tree, cells, turn);
    const beyond = tree.nodes.filter((node) => rules.kindOf(node, cells, turn) !== "game").length;
    const best = count ? q[tree.choice] : value;
    facts.count.value.textContent = count;
    facts.value.value.textContent = `${signed(best)} for ${SIDES[turn]}`;
    facts.beyond.value.textContent = count ? `${beyond} of ${count}` : "–";
    rows.replaceChildren(...[...n.keys()].filter((a) => tree.legal[a]).map((a) =>
      make("tr", {}, make("th", { scope: "row" }, rules.named(a)),
        ...[percent(prior[a]), String(n[a]), n[a] ? signed(q[a]) : "–"].map((text) => make("td", {}, text)))));
    root.dataset.nodes = count;
  }

  root.addEventListener("keydown", (event) => event.key === "Escape" && pause());
  const fromPython = {
    moves: () => {
      const told = model.get("moves");
      if (String(told) === String(moves)) return;
      stop();
      [both, thought, moves] = [false, null, [...told]];
      show();
      say(now().over ? verdict() : `${SIDES[turnAfter(moves.length)]} is to move.`);
    },
    simulations: () => {
      simulations = model.get("simulations");
      depth.set(simulations);
    },
  };
  for (const [name, call] of Object.entries(fromPython)) model.on(`change:${name}`, call);
  return () => {
    clock.remove();
    for (const [name, call] of Object.entries(fromPython)) model.off(`change:${name}`, call);
  };
}

export default {
  render: ({ model, el }) =>
    mount(el, `Play ${model.get("title")} against MuZero`, (root) => build(root, model)),
};
