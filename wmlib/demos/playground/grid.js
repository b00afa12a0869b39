// What both grids of the playground are drawn with: cells, letters, marks that move between cells.

import { shape } from "../page/page.js";

const SIDE = 40; // units of a cell in a picture

// A picture of a whole maze.
export function gridPicture(maze, attributes, ...layers) {
  const viewBox = `0 0 ${maze.columns * SIDE} ${maze.rows * SIDE}`;
  return shape("svg", { class: "wm-map", viewBox, ...attributes }, ...layers);
}

// The middle of a cell, or a point so far from it in the direction (down, across).
export function middle(maze, cell, far = 0, [down, across] = [0, 0]) {
  const [row, column] = [Math.floor(cell / maze.columns), cell % maze.columns];
  return [(column + 0.5) * SIDE + far * across, (row + 0.5) * SIDE + far * down];
}

// A line through the middles of cells, drawn somewhat aside.
export function way(maze, cells, name, aside = 0) {
  const points = cells.map((cell) => middle(maze, cell).map((x) => x + aside).join()).join(" ");
  return shape("polyline", { class: name, points });
}

export function square(maze, cell, name) {
  const [x, y] = middle(maze, cell, SIDE / 2, [-1, -1]);
  return shape("rect", { class: name, x, y, width: SIDE, height: SIDE });
}

// The letter of a start or a goal.
export function letter(maze, cell, text) {
  const [x, y] = middle(maze, cell);
  return shape("g", { class: "wm-mark", "data-mark": text, transform: `translate(${x} ${y})` },
    shape("rect", { x: -13, y: -13, width: 26, height: 26, rx: text === "S" ? 13 : 5 }),
    shape("text", { y: 6.5 }, text));
}

// A mark that can be anywhere between two cells: {element, place(from, to, share)}.
export function marker(maze, name, radius) {
  const element = shape("g", { class: name },
    shape("circle", { class: "wm-under", r: radius }), shape("circle", { r: radius }));
  const place = (from, to, share) => {
    const [begin, end] = [middle(maze, from), middle(maze, to)];
    const [x, y] = begin.map((v, i) => v + share * (end[i] - v));
    element.setAttribute("transform", `translate(${x} ${y})`);
  };
  return { element, place };
}

// In words, counted from 1.
export const placeOf = (maze, cell) =>
  `row ${Math.floor(cell / maze.columns) + 1}, column ${(cell % maze.columns) + 1}`;
