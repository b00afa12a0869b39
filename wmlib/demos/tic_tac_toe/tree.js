// The tree of a search, drawn: each node as the probe reads its hidden state.

import { make, shape } from "../page/page.js";
import { SIDES, kindOf, named } from "./rules.js";

const MOST = 48; // nodes in a picture: those that were visited most
const SIDE = 36; // of a board, in CSS pixels, as all lengths here
const SLOT = 52; // between two leaves
const LEVEL = 96; // from a node to its children
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

// Where each of these nodes stands: leaves side by side, a parent above the middle of its children.
// Returns {places: Map from node to {x, y}, width, height}.
export function layout(root, nodes) {
  const shown = new Set(nodes);
  const places = new Map();
  let leaves = 0;
  let deepest = 0;
  const place = (node) => {
    deepest = Math.max(deepest, node.depth);
    const below = node.children.filter((child) => child && shown.has(child));
    const xs = below.map(place);
    const x = xs.length ? (xs[0] + xs.at(-1)) / 2 : (leaves++ + 0.5) * SLOT;
    places.set(node, { x, y: 4 + node.depth * LEVEL });
    return x;
  };
  place(root);
  return { places, width: leaves * SLOT, height: (deepest + 1) * LEVEL };
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

function stones(node, side, belief, x, y) {
  const cell = SIDE / 3;
  return belief.flatMap(([theirs, , own], c) => {
    const left = x - SIDE / 2 + (c % 3) * cell;
    const top = y + Math.floor(c / 3) * cell;
    const shares = side > 0 ? { X: own, O: theirs } : { X: theirs, O: own };
    const found = [];
    if (shares.X > FAINT) {
      found.push(shape("path", {
        class: "wm-x", opacity: shares.X.toFixed(2),
        d: `M${left + 3} ${top + 3}l${cell - 6} ${cell - 6}m0 ${6 - cell}l${6 - cell} ${cell - 6}`,
      }));
    }
    if (shares.O > FAINT) {
      found.push(shape("circle", {
        class: "wm-o", opacity: shares.O.toFixed(2), cx: left + cell / 2, cy: top + cell / 2,
        r: cell / 2 - 2.5,
      }));
    }
    return found;
  });
}

function grid(x, y) {
  const [left, cell] = [x - SIDE / 2, SIDE / 3];
  const across = [1, 2].map((i) => `M${left} ${y + i * cell}h${SIDE}M${left + i * cell} ${y}v${SIDE}`);
  return shape("path", { class: "wm-grid", d: across.join("") });
}

function words(node, kind) {
  if (!node.parent) return `Where it stands: ${signed(node.value)} for who is to move`;
  const { n, q, prior } = node.parent;
  const rule = { game: "", taken: "; by the rules the cell is taken", past: "; by the rules the game is over before" };
  return `${named(node.action)}, move ${node.depth} from here: ${n[node.action]} visits, `
    + `${signed(q[node.action])} for who makes it, policy ${percent(prior[node.action])}${rule[kind]}`;
}

// A picture of trees: {element, draw(tree, cells, turn, lines), clear}. `cells` and `turn` are those
// of the root.
export function treePicture() {
  const svg = shape("svg", { class: "wm-tree", role: "img" });
  const scroll = make("div", { class: "wm-tree-scroll", role: "group", "aria-label": "Tree of the search" }, svg);
  let drawn = null; // the tree of the last picture
  let held = false; // whether the reader has moved it to where they want it
  for (const event of ["pointerdown", "wheel", "keydown"]) {
    scroll.addEventListener(event, () => (held = true), { passive: true });
  }
  const draw = (tree, cells, turn, lines) => {
    const nodes = kept(tree.nodes);
    const { places, width, height } = layout(tree.root, nodes);
    const main = new Set(mainLine(tree.root));
    const edges = [];
    const boards = [];
    for (const node of nodes) {
      const { x, y } = places.get(node);
      const kind = kindOf(node, cells, turn, lines);
      const side = node.depth % 2 ? -turn : turn; // who is to move there
      const group = shape("g", { class: `wm-node wm-${kind}${main.has(node) ? " wm-main" : ""}` },
        shape("rect", { x: x - SIDE / 2, y, width: SIDE, height: SIDE, rx: 3 }),
        grid(x, y),
        ...stones(node, side, node.belief ??= tree.model.belief(node.state), x, y));
      const title = shape("title");
      title.textContent = words(node, kind);
      group.prepend(title);
      const lower = node.parent
        ? [node.parent.n[node.action], signed(node.parent.q[node.action]), percent(node.parent.prior[node.action])]
        : [tree.nodes.length - 1, signed(node.value), SIDES[side]];
      lower.forEach((text, i) => {
        const label = shape("text", { x, y: y + SIDE + 11 + 11 * i, "text-anchor": "middle" });
        label.textContent = text;
        group.append(label);
      });
      boards.push(group);
      if (node.parent) {
        const above = places.get(node.parent);
        const share = node.parent.prior[node.action];
        edges.push(shape("line", {
          class: "wm-edge", x1: above.x, y1: above.y + SIDE + 36, x2: x, y2: y,
          "stroke-width": (0.75 + 3 * share).toFixed(2),
        }));
      }
    }
    svg.setAttribute("width", width);
    svg.setAttribute("height", height);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("aria-label", told(tree));
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
export function told(tree) {
  const count = tree.nodes.length - 1;
  if (!count) return "The root alone: no simulation";
  const line = mainLine(tree.root).map((node) => named(node.action)).slice(0, 4).join("; ");
  const begun = `A tree of ${count} simulation${count === 1 ? "" : "s"}`;
  return `${begun}. Most went down this line: ${line}`;
}
