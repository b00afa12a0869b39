// The rules, for the reader's board: the search never asks them. Cells are 1 for X, -1 for O, 0.

export const SIDES = { 1: "X", 0: "", "-1": "O" };
const ROWS = ["top", "middle", "bottom"];
const COLUMNS = ["left", "middle", "right"];
export const named = (cell) => `${ROWS[Math.floor(cell / 3)]} row, ${COLUMNS[cell % 3]} column`;

// Who is to move after so many moves: X begins.
export const turnAfter = (count) => (count % 2 ? -1 : 1);

// What lies there after these moves.
export function boardAfter(moves) {
  const cells = new Array(9).fill(0);
  moves.forEach((cell, i) => (cells[cell] = turnAfter(i)));
  return cells;
}

// {over, winner: 1, -1 or 0, line: the cells of three in a row, or none}.
export function outcome(cells, lines) {
  const line = lines.find(([a, b, c]) => cells[a] && cells[a] === cells[b] && cells[b] === cells[c]);
  const winner = line ? cells[line[0]] : 0;
  return { over: Boolean(line) || cells.every(Boolean), winner, line: line ?? [] };
}

// What a node of a tree is by the rules: "game", "taken" (a stone upon a stone, or below such a move)
// or "past" (the game is over before). `cells` and `turn` are those of the root.
export function kindOf(node, cells, turn, lines) {
  if (!node.parent) {
    node.truth = { kind: "game", cells, ...outcome(cells, lines) };
  } else if (!node.truth) {
    kindOf(node.parent, cells, turn, lines);
    const above = node.parent.truth;
    if (above.kind !== "game" || above.over) {
      node.truth = { kind: above.kind === "taken" ? "taken" : "past" };
    } else if (above.cells[node.action]) {
      node.truth = { kind: "taken" };
    } else {
      const after = above.cells.slice();
      after[node.action] = node.depth % 2 ? turn : -turn;
      node.truth = { kind: "game", cells: after, ...outcome(after, lines) };
    }
  }
  return node.truth.kind;
}
