// The real world of the playground, which the reader redraws by mouse, touch or keyboard.

import { gridPicture, letter, marker, placeOf, square, way } from "./grid.js";
import { make } from "../page/page.js";

const ARROWS = { ArrowUp: 0, ArrowDown: 1, ArrowLeft: 2, ArrowRight: 3 }; // actions
const NAMES = { S: "start", G: "goal", "#": "wall", ".": "free" };

// {element, redraw, place, trail}. A press on a cell asks `brush(cell, dragged)` for a function of a
// cell. That is called for the cell pressed and, with a mouse, for each one passed over until the
// button is let go; `done()` follows. A finger presses by a tap: dragged, it scrolls the page.
export function worldGrid(maze, brush, done) {
  const ground = gridPicture(maze, { "aria-hidden": "true" });
  const agent = marker(maze, "wm-agent", 12.5);
  const above =
    gridPicture(maze, { "aria-hidden": "true" }, way(maze, [], "wm-trail"), agent.element);
  const cells = Array.from({ length: maze.states }, () =>
    make("div", { role: "gridcell", tabindex: -1 }));
  const rows = Array.from({ length: maze.rows }, (_, row) =>
    make("div", { role: "row" }, ...cells.slice(row * maze.columns, (row + 1) * maze.columns)));
  const named = { class: "wm-cells", role: "grid", "aria-label": "The real world" };
  const grid = make("div", named, ...rows);
  cells[maze.start].tabIndex = 0;

  function redraw() {
    const marks = cells.map((_, cell) => maze.mark(cell));
    ground.replaceChildren(
      ...marks.map((mark, cell) => square(maze, cell, mark === "#" ? "wm-wall" : "wm-floor")),
      ...marks.flatMap((mark, cell) => ("SG".includes(mark) ? [letter(maze, cell, mark)] : [])));
    marks.forEach((mark, cell) =>
      cells[cell].setAttribute("aria-label", `${placeOf(maze, cell)}: ${NAMES[mark]}`));
  }

  function press(cell) {
    brush(cell, false)(cell);
    done();
  }

  grid.addEventListener("focusin", ({ target }) => {
    grid.querySelector("[tabindex='0']").tabIndex = -1;
    target.tabIndex = 0;
  });
  grid.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const cell = cells.indexOf(event.target);
    if (event.key in ARROWS) {
      event.preventDefault(); // here alone, arrow keys do not scroll
      cells[maze.beside(cell, ARROWS[event.key])]?.focus({ preventScroll: true });
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      if (!event.repeat) press(cell);
    }
  });

  let paint = null; // while a mouse draws
  let last = -1;
  let drawn = false; // the click that follows is no press of its own
  const under = ({ clientX, clientY }) => {
    const box = grid.getBoundingClientRect();
    const row = Math.floor(((clientY - box.top) / box.height) * maze.rows);
    const column = Math.floor(((clientX - box.left) / box.width) * maze.columns);
    const inside = row >= 0 && row < maze.rows && column >= 0 && column < maze.columns;
    return inside ? row * maze.columns + column : -1;
  };
  grid.addEventListener("pointerdown", (event) => {
    drawn = event.pointerType === "mouse" && event.button === 0;
    last = under(event);
    if (!drawn || last < 0) return;
    grid.setPointerCapture(event.pointerId);
    paint = brush(last, true);
    paint(last);
  });
  grid.addEventListener("pointermove", (event) => {
    const cell = under(event);
    if (!paint || cell === last || cell < 0) return;
    line(maze, last, cell).forEach(paint);
    last = cell;
  });
  grid.addEventListener("lostpointercapture", () => {
    if (paint) done();
    paint = null;
  });
  grid.addEventListener("click", (event) => {
    if (!drawn) press(cells.indexOf(event.target.closest("[role='gridcell']")));
    drawn = false;
  });

  redraw();
  return {
    element: make("div", { class: "wm-grid" }, ground, above, grid),
    redraw,
    place: agent.place,
    trail: (trodden) => above.firstChild.replaceWith(way(maze, trodden, "wm-trail")),
  };
}

// The cells on the way from one to another, without the first: a mouse may skip some.
function line(maze, from, to) {
  const [row, column] = [Math.floor(from / maze.columns), from % maze.columns];
  const [down, across] = [Math.floor(to / maze.columns) - row, (to % maze.columns) - column];
  const steps = Math.max(Math.abs(down), Math.abs(across));
  return Array.from({ length: steps }, (_, i) => {
    const share = (i + 1) / steps;
    return Math.round(row + share * down) * maze.columns + Math.round(column + share * across);
  });
}

// What the reader may draw: `brush(cell, dragged)`, as `worldGrid` asks for it, for the chosen `tool`
// ("walls", "start" or "goal"). `changed(words)` follows a change, `refused(words)` anything else.
export class Pencil {
  constructor(maze, changed, refused) {
    Object.assign(this, { maze, changed, refused, tool: "walls" });
  }

  // What a press on that cell begins. A mouse that draws walls can drag the start and goals, too.
  brush(cell, dragged) {
    const { maze, tool } = this;
    const here = maze.mark(cell);
    if (here === "S" && dragged && tool !== "goal") return (to) => this.move("start", to, []);
    if (here === "G" && (tool === "goal" || (dragged && tool === "walls"))) {
      let from = cell;
      return (to) => {
        if (this.move("goal", to, [from])) from = to;
      };
    }
    if (tool === "walls") return (to) => this.wall(to, here !== "#");
    return (to) => this.move(tool, to, tool === "goal" ? [...maze.goals] : []);
  }

  wall(cell, stands) {
    const { maze } = this;
    const here = maze.mark(cell);
    if ("SG".includes(here)) this.refused("No wall can stand on the start or on a goal.");
    else if (stands !== (here === "#")) {
      maze.walls[stands ? "add" : "delete"](cell);
      this.changed(`${stands ? "A wall stands" : "No wall stands"} at ${placeOf(maze, cell)}.`);
    }
  }

  // Whether the start is there now, or a goal instead of those `old` ones.
  move(what, cell, old) {
    const { maze } = this;
    const here = NAMES[maze.mark(cell)];
    if (here === what) return false;
    if (here !== "free") {
      this.refused(`The ${what} needs a free cell: ${placeOf(maze, cell)} is not free.`);
      return false;
    }
    if (what === "start") maze.start = cell;
    else {
      old.forEach((goal) => maze.goals.delete(goal));
      maze.goals.add(cell);
    }
    this.changed(`The ${what} is at ${placeOf(maze, cell)}.`);
    return true;
  }
}
