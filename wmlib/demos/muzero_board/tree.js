// The tree of a search, drawn: each node as the probe reads its hidden state, or by the rules.

import { make, shape } from "../page/page.js";
import { SIDES } from "./rules.js";

const MOST = 48; // nodes in a picture: those that were visited most
const LEAST = 7; // side of a cell, in CSS pixels, as all lengths here
const BOARD = 36; // width of a board whose cells need not be smaller
const GAP = 16; // between two boards side by side
const BELOW = 60; // from a board to those of its children
const FAINT = 0.12; // share below which a stone is not drawn

export const signed = (value) =>
  (Math.abs(value) < 0.005 ? "0.00" : `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`);
export const percent = (share) => `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;

const visitsOf = (node) => (node.parent ? node.parent.n[node.action] : node.count - 1);

// The nodes that are drawn. A parent is older than its child and was visited at least as often, so
// that what is kept hangs together.
export function kept(nodes, most = MOST) {
  const order = nodes.map((node, age) => [node, age]);
  order.sort(([a, i], [b, j]) => visitsOf(b) - visitsOf(a) || i - j);
  return order.slice(0, most).map(([node]) => node);
}

// Lengths of the boards of a game: {cell, wide, high}.
export function sizes({ rows, columns }) {
  const cell = Math.max(LEAST, BOARD / columns);
  return { cell, wide: columns * cell, high: rows * cell };
}

// Where each of these nodes stands: leaves side by side, a parent above the middle of its children.
// Returns {places: Map from node to {x, y}, width, height}.
export function layout(root, nodes, { wide, high }) {
  const [slot, level] = [wide + GAP, high + BELOW];
  const shown = new Set(nodes);
  const places = new Map();
  let leaves = 0;
  let deepest = 0;
  const place = (node) => {
    deepest = Math.max(deepest, node.depth);
    const below = node.children.filter((child) => child && shown.has(child));
    const xs = below.map(place);
    const x = xs.length ? (xs[0] + xs.at(-1)) / 2 : (leaves++ + 0.5) * slot;
    places.set(node, { x, y: 4 + node.depth * level });
    return x;
  };
  place(root);
  return { places, width: leaves * slot, height: (deepest + 1) * level };
}

// The line that most simulations went down.
export function mainLine(root) {
  const line = [];
  for (let node = root; ; ) {
    const most = Math.max(...node.n);
    if (!most) return line;
    node = node.children[node.n.indexOf(most)];
    line.push(node);
  }
}

// What to draw in a node's cells: shares [[opponent, nothing, own], ...] for who is to move. Without a
// probe nothing is drawn where the rules have no board.
function seen(node, side, model) {
  if (model.probe) return model.belief(node.state);
  return (node.truth.cells ?? []).map((c) => [c === -side, c === 0, c === side].map(Number));
}

function stones(belief, side, columns, cell) {
  const arm = cell / 2;
  return belief.flatMap(([theirs, , own], c) => {
    const left = (c % columns) * cell;
    const top = Math.floor(c / columns) * cell;
    const shares = side > 0 ? { X: own, O: theirs } : { X: theirs, O: own };
    const found = [];
    if (shares.X > FAINT) {
      found.push(shape("path", {
        class: "wm-x", opacity: shares.X.toFixed(2),
        d: `M${left + arm / 2} ${top + arm / 2}l${arm} ${arm}m0 ${-arm}l${-arm} ${arm}`,
      }));
    }
    if (shares.O > FAINT) {
      found.push(shape("circle", {
        class: "wm-o", opacity: shares.O.toFixed(2), cx: left + arm, cy: top + arm,
        r: (7 * cell) / 24,
      }));
    }
    return found;
  });
}

function grid({ rows, columns }, { cell, wide, high }) {
  const across = Array.from({ length: rows - 1 }, (_, i) => `M0 ${(i + 1) * cell}h${wide}`);
  const down = Array.from({ length: columns - 1 }, (_, i) => `M${(i + 1) * cell} 0v${high}`);
  return shape("path", { class: "wm-grid", d: [...across, ...down].join("") });
}

// Above a column.
function mark(column, cell) {
  return shape("path", { class: "wm-dropped", d: `M${(column + 0.5) * cell} -1l-4 -5h8z` });
}

function words(node, kind, rules) {
  if (!node.parent) return `Where it stands: ${signed(node.value)} for who is to move`;
  const { n, q, prior } = node.parent;
  const rule = { game: "", taken: `; by the rules ${rules.taken}`, past: "; by the rules the game is over before" };
  return `${rules.named(node.action)}, move ${node.depth} from here: ${n[node.action]} visits, `
    + `${signed(q[node.action])} for who makes it, policy ${percent(prior[node.action])}${rule[kind]}`;
}

// A picture of a game's trees: {element, draw(tree, cells, turn), clear}. `cells` and `turn` are those
// of the root.
export function treePicture(rules) {
  const board = sizes(rules);
  const svg = shape("svg", { class: "wm-tree", role: "img", style: `--wm-stroke: ${board.cell / 6}` });
  const scroll = make("div", { class: "wm-tree-scroll", role: "group", "aria-label": "Tree of the search" }, svg);
  // The board of a node, which is drawn once, and the column that a stone was dropped in.
  const pictureOf = (node, side, belief) => shape("g", {},
    shape("rect", { width: board.wide, height: board.high, rx: 3 }),
    grid(rules, board),
    ...stones(belief, side, rules.columns, board.cell),
    ...(rules.drops && node.parent ? [mark(node.action, board.cell)] : []));
  let drawn = null; // the tree of the last picture
  let held = false; // whether the reader has moved it to where they want it
  for (const event of ["pointerdown", "wheel", "keydown"]) {
    scroll.addEventListener(event, () => (held = true), { passive: true });
  }
  const draw = (tree, cells, turn) => {
    const nodes = kept(tree.nodes);
    const { places, width, height } = layout(tree.root, nodes, board);
    const main = new Set(mainLine(tree.root));
    const edges = [];
    const boards = [];
    for (const node of nodes) {
      const { x, y } = places.get(node);
      const kind = rules.kindOf(node, cells, turn);
      const side = node.depth % 2 ? -turn : turn; // who is to move there
      const group = shape("g", { class: `wm-node wm-${kind}${main.has(node) ? " wm-main" : ""}` },
        node.picture ??= pictureOf(node, side, seen(node, side, tree.model)));
      node.picture.setAttribute("transform", `translate(${x - board.wide / 2} ${y})`);
      const title = shape("title");
      title.textContent = words(node, kind, rules);
      group.prepend(title);
      const lower = node.parent
        ? [node.parent.n[node.action], signed(node.parent.q[node.action]), percent(node.parent.prior[node.action])]
        : [tree.nodes.length - 1, signed(node.value), SIDES[side]];
      lower.forEach((text, i) => {
        const label = shape("text", { x, y: y + board.high + 11 + 11 * i, "text-anchor": "middle" });
        label.textContent = text;
        group.append(label);
      });
      boards.push(group);
      if (node.parent) {
        const above = places.get(node.parent);
        const share = node.parent.prior[node.action];
        edges.push(shape("line", {
          class: "wm-edge", x1: above.x, y1: above.y + board.high + 36, x2: x, y2: y,
          "stroke-width": (0.75 + 3 * share).toFixed(2),
        }));
      }
    }
    svg.setAttribute("width", width);
    svg.setAttribute("height", height);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("aria-label", told(tree, rules));
    svg.replaceChildren(...edges, ...boards);
    if (tree !== drawn) [drawn, held] = [tree, false];
    scroll.tabIndex = 0; // so that keys scroll it, in every browser
    if (!held) scroll.scrollLeft = places.get(tree.root).x - scroll.clientWidth / 2;
  };
  const clear = () => {
    drawn = null;
    scroll.removeAttribute("tabindex");
    svg.setAttribute("aria-label", "No tree yet");
    for (const side of ["width", "height"]) svg.setAttribute(side, 0);
    svg.replaceChildren();
  };
  clear();
  return { element: scroll, draw, clear };
}

// A tree in a sentence.
export function told(tree, rules) {
  const count = tree.nodes.length - 1;
  if (!count) return "The root alone: no simulation";
  const line = mainLine(tree.root).map((node) => rules.named(node.action)).slice(0, 4).join("; ");
  const begun = `A tree of ${count} simulation${count === 1 ? "" : "s"}`;
  return `${begun}. Most went down this line: ${line}`;
}
