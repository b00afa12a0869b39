// The rules, for the reader's board and for what is legal at a root: below it the search never asks
// them. Cells are 1 for X, -1 for O, 0; the top row comes first.

export const SIDES = { 1: "X", 0: "", "-1": "O" };
const ROWS = ["top", "middle", "bottom"];
const COLUMNS = ["left", "middle", "right"];
const NUMBERS = { 3: "Three", 4: "Four" };

// Who is to move after so many moves: X begins.
export const turnAfter = (count) => (count % 2 ? -1 : 1);

// Of a game in which a move names a cell, or, where stones drop, a column.
export class Rules {
  constructor({ rows, columns, actions, drops, lines }) {
    Object.assign(this, { rows, columns, actions, drops, lines, size: rows * columns });
    this.taken = drops ? "the column is full" : "the cell is taken";
    this.won = `${NUMBERS[lines[0].length]} in a row`;
  }

  // A move in words.
  named(action) {
    const [row, column] = [ROWS[Math.floor(action / 3)], COLUMNS[action % 3]];
    return this.drops ? `column ${action + 1}` : `${row} row, ${column} column`;
  }

  // The cells that a move may fill, the last one first.
  cellsOf(action) {
    if (!this.drops) return [action];
    return Array.from({ length: this.rows }, (_, row) => row * this.columns + action);
  }

  // The cell in which the stone of a move ends; undefined if there is none.
  landing(cells, action) {
    return this.cellsOf(action).findLast((cell) => !cells[cell]);
  }

  legal(cells) {
    return Array.from({ length: this.actions }, (_, a) => this.landing(cells, a) !== undefined);
  }

  // What lies there after these moves.
  after(moves) {
    const cells = new Array(this.size).fill(0);
    moves.forEach((action, i) => (cells[this.landing(cells, action)] = turnAfter(i)));
    return cells;
  }

  // {over, winner: 1, -1 or 0, line: the cells in a row, or none}.
  outcome(cells) {
    const line = this.lines.find(([first, ...rest]) =>
      cells[first] && rest.every((cell) => cells[cell] === cells[first]));
    const winner = line ? cells[line[0]] : 0;
    return { over: Boolean(line) || cells.every(Boolean), winner, line: line ?? [] };
  }

  // What a node of a tree is by the rules: "game", "taken" (a move that is not legal, or below one)
  // or "past" (the game is over before). `cells` and `turn` are those of the root.
  kindOf(node, cells, turn) {
    if (!node.parent) {
      node.truth = { kind: "game", cells, ...this.outcome(cells) };
    } else if (!node.truth) {
      this.kindOf(node.parent, cells, turn);
      const above = node.parent.truth;
      const cell = above.cells && this.landing(above.cells, node.action);
      if (above.kind !== "game" || above.over) {
        node.truth = { kind: above.kind === "taken" ? "taken" : "past" };
      } else if (cell === undefined) {
        node.truth = { kind: "taken" };
      } else {
        const after = above.cells.slice();
        after[cell] = node.depth % 2 ? turn : -turn;
        node.truth = { kind: "game", cells: after, ...this.outcome(after) };
      }
    }
    return node.truth.kind;
  }
}
