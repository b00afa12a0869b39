// What the agent of the playground believes, as a picture with its key.

import { ACTIONS, MOVES } from "./dyna.js";
import { gridPicture, letter, marker, middle, way } from "./grid.js";
import { make, newId, shape } from "../page/page.js";

const HALF = 20; // units of half a cell
const TURNS = [0, 180, 270, 90]; // degrees from up, of each action
const OFTEN = [1, 2, 4, 10]; // times tried, from which on a triangle is darker

// {element, key, redraw, say, place, ways, dots}. In each cell stand a triangle for each action,
// coloured by how often it was tried and crossed out where it is wrong by now; a bar where it led
// back; and in the middle the value of the cell, with the best action.
export function beliefGrid(maze) {
  const hatch = newId("hatch");
  const layers = ["dreams", "path", "dots"].map((name) => shape("g", { class: `wm-${name}` }));
  const [ways, plan, dots] = layers;
  const marks = shape("g");
  const here = marker(maze, "wm-here", 12.5);
  const cells = Array.from({ length: maze.states }, (_, cell) => cellOf(maze, cell));
  const element = gridPicture(maze, { role: "img" }, shape("defs", {}, hatching(hatch)),
    ...cells.map((cell) => cell.element), ...layers, marks, here.element);
  const whole = make("div", { class: "wm-grid" }, element);
  const key = keyOf();
  for (const part of [whole, key]) part.style.setProperty("--wm-unknown", `url(#${hatch})`);

  function redraw(model, values) {
    const most = values.reduce((high, value) => Math.max(high, value), 1);
    const { entered, goals } = seen(maze, model);
    cells.forEach((cell, state) => cell.show(model, values, most, entered.has(state)));
    marks.replaceChildren(
      letter(maze, maze.start, "S"), ...[...goals].map((cell) => letter(maze, cell, "G")));
  }

  return {
    element: whole,
    key,
    redraw,
    say: (text) => element.setAttribute("aria-label", text),
    place: here.place,
    // So many steps of each dream, and the cells of a plan.
    ways: (found, steps, path) => {
      element.toggleAttribute("data-faint", found.length + path.length > 0);
      ways.replaceChildren(...found.map((dream, i) => dreamt(maze, dream, steps, i, found.length)));
      plan.replaceChildren(way(maze, path, "wm-path-under"), way(maze, path, "wm-path-line"));
    },
    // Dots in the triangles of those pairs.
    dots: (pairs) => dots.replaceChildren(...[...new Set(pairs)].map((pair) => {
      const state = Math.floor(pair / ACTIONS.length);
      const [cx, cy] = middle(maze, state, 14, MOVES[pair % ACTIONS.length]);
      return shape("circle", { cx, cy, r: 3.5 });
    })),
  };
}

// The cells that the agent has been in, those where it met a goal among them.
function seen(maze, model) {
  const entered = new Set(model.visited);
  const goals = new Set();
  const bumped = new Set();
  for (const state of model.visited) {
    for (const action of model.actions[state]) {
      const next = model.after[state * ACTIONS.length + action];
      const beside = maze.beside(state, action);
      if (next < 0) goals.add(beside);
      if (next === state) bumped.add(beside);
      else entered.add(next < 0 ? beside : next);
    }
  }
  return { entered, goals, bumped };
}

// The belief as text, a line for each row.
export function asText(maze, model) {
  const { entered, goals, bumped } = seen(maze, model);
  const mark = (cell) => {
    if (cell === maze.start) return "S";
    if (goals.has(cell)) return "G";
    if (entered.has(cell)) return ".";
    return bumped.has(cell) ? "#" : "?";
  };
  return Array.from({ length: maze.rows }, (_, row) =>
    Array.from({ length: maze.columns }, (_, column) => mark(row * maze.columns + column)).join("")
  ).join("\n");
}

// The first steps of a dream: solid as long as the real world would follow, then dashed.
function dreamt(maze, { cells, end, wrong }, steps, i, dreams) {
  const aside = 4 * (i - (dreams - 1) / 2);
  const shown = cells.slice(0, steps + 1);
  const at = (cell) => middle(maze, cell).map((x) => x + aside);
  const [cx, cy] = at(cells[0]);
  const right = wrong < 0 ? shown : shown.slice(0, wrong + 1);
  const parts = [
    way(maze, shown, "wm-dream-under", aside),
    way(maze, right, "wm-dream", aside),
    shape("circle", { cx, cy, r: 4.5 }),
  ];
  if (wrong >= 0 && shown.length > wrong + 1) {
    const [from, to] = [at(shown[wrong]), at(shown[wrong + 1])];
    parts.push(way(maze, shown.slice(wrong), "wm-dream wm-dream-wrong", aside),
      cross(7, ...from.map((x, j) => (x + to[j]) / 2)));
  }
  if (end === "unknown" && steps >= cells.length - 1) {
    const [x, y] = at(cells.at(-1));
    parts.push(
      shape("circle", { class: "wm-ask", cx: x, cy: y, r: 9 }), shape("text", { x, y: y + 5 }, "?"));
  }
  return shape("g", { "data-dream": i }, ...parts);
}

const cross = (reach, x = 0, y = 0) => {
  const across = 2 * reach;
  const d = `M${x - reach} ${y - reach}l${across} ${across}m0 ${-across}l${-across} ${across}`;
  return shape("path", { class: "wm-cross", d });
};

const wedgeOf = (turn) => shape("g", { class: "wm-wedge", transform: `rotate(${turn})` },
  shape("path", { class: "wm-side", d: `M0 0L${-HALF} ${-HALF}L${HALF} ${-HALF}Z` }),
  shape("rect", { class: "wm-bump", x: -HALF, y: -HALF, width: 2 * HALF, height: 7 }),
  shape("g", { transform: `translate(0 ${7 - HALF})` }, cross(4.5)));

const discOf = () => shape("g", { class: "wm-worth" },
  shape("circle", { class: "wm-worth-under", r: 9.5 }),
  shape("circle", { class: "wm-worth-disc", r: 8.5 }),
  shape("path", { d: "M-5 3L0 -4.5L5 3Z" }));

// One cell of the belief: {element, show}. Only what has changed is drawn again.
function cellOf(maze, cell) {
  const first = cell * ACTIONS.length;
  const [x, y] = middle(maze, cell);
  const wedges = TURNS.map(wedgeOf);
  const worth = discOf();
  const element = shape("g", { class: "wm-cell", transform: `translate(${x} ${y})` },
    shape("rect", { class: "wm-nothing", x: -HALF, y: -HALF, width: 2 * HALF, height: 2 * HALF }),
    ...wedges, worth);
  const put = (target, name, value) => {
    if (target.getAttribute(name) !== String(value)) target.setAttribute(name, value);
  };

  function show(model, values, most, entered) {
    const row = values.subarray(first, first + ACTIONS.length);
    const high = Math.max(...row);
    put(element, "data-entered", entered);
    wedges.forEach((wedge, action) => {
      const tried = model.tried[first + action];
      put(wedge, "data-level", OFTEN.filter((times) => tried >= times).length);
      put(wedge, "data-bump", tried > 0 && model.after[first + action] === cell);
      put(wedge, "data-wrong", !model.holds(maze, first + action));
    });
    put(worth, "data-valued", high > 0);
    if (high <= 0) return;
    put(worth.children[1], "fill-opacity", Math.round(20 * Math.sqrt(high / most)) / 20);
    put(worth.children[2], "transform", `rotate(${TURNS[row.indexOf(high)]})`);
  }

  return { element, show };
}

function hatching(id) {
  return shape("pattern", { id, width: 8, height: 8, patternUnits: "userSpaceOnUse" },
    shape("rect", { class: "wm-hatch-under", width: 8, height: 8 }),
    shape("path", { class: "wm-hatch", d: "M-2 2L2 -2M0 8L8 0M6 10L10 6" }));
}

// What the marks mean.
function keyOf() {
  const sign = (box, ...parts) =>
    shape("svg", { class: "wm-sign", viewBox: box, "aria-hidden": "true" }, ...parts);
  const wedge = (data) => {
    const drawn = wedgeOf(0);
    for (const [name, value] of Object.entries(data)) drawn.setAttribute(`data-${name}`, value);
    return sign("-21 -21 42 22", drawn);
  };
  const nothing = shape("rect", { class: "wm-nothing", width: 30, height: 22 });
  const disc = discOf();
  disc.setAttribute("data-valued", true);
  const line = (name) => shape("polyline", { class: name, points: "0,10 40,10" });
  const entry = (text, ...signs) => make("li", {}, ...signs, make("span", {}, text));
  return make("ul", { class: "wm-key" },
    entry("never tried", sign("0 0 30 22", nothing)),
    entry("tried 1, 2, 4, 10 times", ...[1, 2, 3, 4].map((level) => wedge({ level }))),
    entry("leads back: a wall", wedge({ level: 2, bump: true })),
    entry("wrong by now", wedge({ level: 2, wrong: true })),
    entry("value, best action", sign("-10 -10 20 20", disc)),
    entry("plan", sign("0 0 40 20", line("wm-path-under"), line("wm-path-line"))),
    entry("dream; dashed: wrong", ...["", " wm-dream-wrong"].map((more) =>
      sign("0 0 40 20", shape("g", { class: "wm-dreams" }, line(`wm-dream${more}`))))));
}
