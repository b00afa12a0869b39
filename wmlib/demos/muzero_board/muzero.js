// MuZero in plain JavaScript: its three networks, and the search of `wmlib.agents.muzero.search` for
// one game. Tests hold both to Python's: the same numbers, and the same visits.
//
// Activations are kept in double precision, so that a tie in the search is broken by the weights and
// not by rounding. Letters as in the library: S state, A actions, K atoms of a number.

import { dense, take } from "../page/engine.js";

const EPS = 1e-5; // of LayerNorm
const BEND = 0.001; // of the scale of values and rewards

// Layers with LayerNorm and ReLU, and a plain one.
class Mlp {
  constructor(arrays, name, inputs, units, layers, outputs) {
    this.hidden = Array.from({ length: layers }, (_, i) => ({
      weight: take(arrays, `${name}.${3 * i}.weight`, [units, i ? units : inputs]),
      bias: take(arrays, `${name}.${3 * i}.bias`, [units]),
      scale: take(arrays, `${name}.${3 * i + 1}.weight`, [units]),
      shift: take(arrays, `${name}.${3 * i + 1}.bias`, [units]),
      out: new Float64Array(units),
    }));
    this.weight = take(arrays, `${name}.${3 * layers}.weight`, [outputs, units]);
    this.bias = take(arrays, `${name}.${3 * layers}.bias`, [outputs]);
    this.outputs = outputs;
  }

  read(x) {
    let y = x;
    for (const { weight, bias, scale, shift, out } of this.hidden) {
      y = dense(weight, bias, y, out);
      const mean = y.reduce((a, b) => a + b, 0) / y.length;
      const variance = y.reduce((sum, v) => sum + (v - mean) ** 2, 0) / y.length;
      const factor = 1 / Math.sqrt(variance + EPS);
      for (let i = 0; i < y.length; i++) y[i] = Math.max((y[i] - mean) * factor * scale[i] + shift[i], 0);
    }
    return dense(this.weight, this.bias, y, new Float64Array(this.outputs));
  }
}

function softmax(logits) {
  const most = Math.max(...logits);
  const exps = Float64Array.from(logits, (logit) => Math.exp(logit - most));
  const sum = exps.reduce((a, b) => a + b, 0);
  return exps.map((value) => value / sum);
}

// The number that a distribution over atoms expects. The atoms lie evenly on a bent scale.
function number(logits, atoms) {
  const mean = softmax(logits).reduce((sum, share, k) => sum + share * atoms[k], 0);
  const inside = Math.abs(mean) + 1 + BEND;
  const root = (2 * inside) / (Math.sqrt(1 + 4 * BEND * inside) + 1);
  return Math.sign(mean) * (root ** 2 - 1);
}

// The least number becomes 0 and the largest 1.
function scaled(state) {
  const low = Math.min(...state);
  const spread = Math.max(Math.max(...state) - low, 1e-5);
  return state.map((value) => (value - low) / spread);
}

export class MuZero {
  constructor(arrays, { networks, inputs, actions, discount, probe }) {
    const { state, units, layers, atoms } = networks;
    const below = Math.max(1, layers - 1);
    const bins = 2 * atoms + 1;
    Object.assign(this, { actions, discount, size: state, cells: inputs / 2 });
    this.h = new Mlp(arrays, "h", inputs, units, layers, state);
    this.g = new Mlp(arrays, "g", state + actions, units, below, state + bins);
    this.f = new Mlp(arrays, "f", state, units, below, actions + bins);
    this.valueAtoms = take(arrays, "values.atoms", [bins]);
    this.rewardAtoms = take(arrays, "rewards.atoms", [bins]);
    this.probe = probe && {
      weight: take(arrays, "probe.weight", [3 * this.cells, state]),
      bias: take(arrays, "probe.bias", [3 * this.cells]),
    };
  }

  // h and f of a board as who is to move sees it: 1 own, -1 the opponent's, 0 empty.
  root(cells) {
    const seen = Float64Array.from([...cells.map((c) => c === 1), ...cells.map((c) => c === -1)], Number);
    const state = scaled(this.h.read(seen));
    return { state, ...this.predict(state) };
  }

  // g and f: what an action leads to.
  step(state, action) {
    const input = new Float64Array(this.size + this.actions);
    input.set(state);
    input[this.size + action] = 1;
    const out = this.g.read(input);
    const following = scaled(out.subarray(0, this.size));
    const reward = number(out.subarray(this.size), this.rewardAtoms);
    return { state: following, reward, ...this.predict(following) };
  }

  predict(state) {
    const out = this.f.read(state);
    return {
      prior: softmax(out.subarray(0, this.actions)),
      value: number(out.subarray(this.actions), this.valueAtoms),
    };
  }

  // How likely each cell holds the opponent's stone, nothing, an own one, as the probe reads a state:
  // shares [[opponent, nothing, own], ...]. (Least squares say numbers below 0 and above 1, too.)
  belief(state) {
    const out = dense(this.probe.weight, this.probe.bias, state, new Float64Array(3 * this.cells));
    return Array.from({ length: this.cells }, (_, c) => {
      const three = Array.from(out.subarray(3 * c, 3 * c + 3), (v) => Math.min(Math.max(v, 1e-9), 1));
      const sum = three.reduce((a, b) => a + b);
      return three.map((v) => v / sum);
    });
  }
}

// The same model, whose policy says nothing: every action is as likely, wherever it is asked.
export function withoutPolicy(model) {
  const predict = (state) =>
    ({ ...model.predict(state), prior: new Float64Array(model.actions).fill(1 / model.actions) });
  return Object.assign(Object.create(model), { predict });
}

// Priors of legal actions alone, which sum to 1 again.
export function masked(prior, legal) {
  const kept = Float64Array.from(prior, (share, a) => (legal[a] ? share + 1e-9 : 0));
  const sum = kept.reduce((a, b) => a + b, 0);
  if (!(sum > 0)) throw new Error("nothing is legal at the root");
  return kept.map((share) => share / sum);
}

// A tree that grows by one node with each simulation. `root` is {state, prior, value}; its prior may
// hold noise. A node has the numbers of its edges: visits `n` and mean earnings `q`, by action.
export class Tree {
  constructor(model, root, legal, c1 = 1.25, c2 = 19652) {
    Object.assign(this, { model, legal, c1, c2 });
    this.low = this.high = root.value;
    this.root = this.node(root, null, null);
    this.nodes = [this.root];
  }

  node({ state, prior, value, reward = 0 }, parent, action) {
    const { actions } = this.model;
    return {
      state, prior, value, reward, parent, action,
      depth: parent ? parent.depth + 1 : 0,
      count: 1, // visits; its own expansion is the first
      n: new Int32Array(actions),
      q: new Float64Array(actions),
      children: new Array(actions).fill(null),
    };
  }

  // pUCT; of equal edges the first. What is legal is known at the root alone.
  choose(node) {
    const spread = Math.max(this.high - this.low, 1e-9);
    const weight = Math.sqrt(node.count) * (this.c1 + Math.log((node.count + this.c2 + 1) / this.c2));
    let best = -1;
    let most = -Infinity;
    for (let a = 0; a < node.n.length; a++) {
      if (node === this.root && !this.legal[a]) continue;
      const worth = node.n[a] ? Math.max((node.q[a] - this.low) / spread, 0) : 0;
      const score = worth + (weight * node.prior[a]) / (1 + node.n[a]);
      if (score > most) [best, most] = [a, score];
    }
    return best;
  }

  // One simulation.
  grow() {
    const path = [];
    let node = this.root;
    let action = null;
    while (node) {
      action = this.choose(node);
      path.push([node, action]);
      node = node.children[action];
    }
    const [parent] = path.at(-1);
    const step = this.model.step(parent.state, action);
    parent.children[action] = this.node(step, parent, action);
    this.nodes.push(parent.children[action]);
    let earned = step.value; // for who is to move there
    for (const [at, a] of path.reverse()) {
      earned = at.children[a].reward + this.model.discount * earned;
      at.count += 1;
      at.n[a] += 1;
      at.q[a] += (earned - at.q[a]) / at.n[a];
      this.low = Math.min(this.low, at.q[a]);
      this.high = Math.max(this.high, at.q[a]);
    }
  }

  // The action that most simulations began with, of equal ones the better; with no simulation the
  // likeliest.
  get choice() {
    const { n, q, prior } = this.root;
    const order = this.nodes.length > 1
      ? (a, b) => n[b] - n[a] || q[b] - q[a] || a - b
      : (a, b) => prior[b] - prior[a] || a - b;
    return [...n.keys()].filter((a) => this.legal[a]).sort(order)[0];
  }
}

// A tree at a board, where so much is legal, with all simulations still to come.
export function think(model, cells, legal) {
  const root = model.root(cells);
  return new Tree(model, { ...root, prior: masked(root.prior, legal) }, legal);
}
