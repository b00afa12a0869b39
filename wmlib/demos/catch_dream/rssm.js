// The forward pass of DreamerV3 in plain JavaScript: the state's step without seeing, the heads that
// read a state, and the actor. A test holds each to PyTorch's numbers, in Node and in a browser.
//
// Letters as in the library: H deterministic, G blocks, Z variables, K classes, U units, A actions,
// F = H + Z K features of a state.

import { dense, sigmoid, take } from "../page/engine.js";

const EPS = 1e-4; // of the norm

// x / sqrt(mean(x^2) + eps) * weight, and then x * sigmoid(x), in place.
function normed(weight, x) {
  let square = 0;
  for (const value of x) square += value * value;
  const factor = 1 / Math.sqrt(square / x.length + EPS);
  for (let i = 0; i < x.length; i++) {
    const value = x[i] * factor * weight[i];
    x[i] = value * sigmoid(value);
  }
  return x;
}

// A linear layer with its norm and its bend.
class Normed {
  constructor(arrays, name, inputs, units) {
    this.weight = take(arrays, `${name}.0.weight`, [units, inputs]);
    this.bias = take(arrays, `${name}.0.bias`, [units]);
    this.norm = take(arrays, `${name}.1.weight`, [units]);
    this.out = new Float32Array(units);
  }

  read(x) {
    return normed(this.norm, dense(this.weight, this.bias, x, this.out));
  }
}

// So many such layers, and a plain one.
class Mlp {
  constructor(arrays, name, inputs, units, layers, outputs) {
    this.hidden = Array.from({ length: layers }, (_, i) =>
      new Normed(arrays, `${name}.${i}`, i ? units : inputs, units));
    this.weight = take(arrays, `${name}.${layers}.weight`, [outputs, layers ? units : inputs]);
    this.bias = take(arrays, `${name}.${layers}.bias`, [outputs]);
    this.out = new Float32Array(outputs);
  }

  read(x) {
    return dense(this.weight, this.bias, this.hidden.reduce((y, layer) => layer.read(y), x), this.out);
  }
}

function softmax(logits) {
  const most = Math.max(...logits);
  const exps = Float64Array.from(logits, (logit) => Math.exp(logit - most));
  const sum = exps.reduce((a, b) => a + b, 0);
  return exps.map((value) => value / sum);
}

// The mean of a distribution over bins that mirror one another, summed from both ends to the middle.
function expected(logits, bins) {
  const shares = softmax(logits);
  const middle = bins.length >> 1;
  let sum = shares[middle] * bins[middle];
  for (let i = 0, j = bins.length - 1; i < middle; i++, j--) sum += shares[i] * bins[i] + shares[j] * bins[j];
  return sum;
}

// The model and the actor of one agent. A state is {deterministic (H), stochastic (Z K)}.
export class DreamerV3 {
  constructor(arrays, { rssm, world, behaviour, pixels, actions }) {
    const { deterministic: h, blocks, variables, classes, units } = rssm;
    const numbers = variables * classes;
    const features = h + numbers;
    Object.assign(this, { rssm, actions, pixels });
    this.discount = 1 - 1 / world.horizon;
    this.fromState = new Normed(arrays, "rssm.from_state", h, units);
    this.fromDice = new Normed(arrays, "rssm.from_dice", numbers, units);
    this.fromAction = new Normed(arrays, "rssm.from_action", actions, units);
    const own = h / blocks;
    this.mix = take(arrays, "rssm.cell.mix.weight", [blocks, own, own + 3 * units]);
    this.mixBias = take(arrays, "rssm.cell.mix.bias", [blocks, own]);
    this.norm = take(arrays, "rssm.cell.norm.weight", [h]);
    this.gates = take(arrays, "rssm.cell.gates.weight", [blocks, 3 * own, own]);
    this.gatesBias = take(arrays, "rssm.cell.gates.bias", [blocks, 3 * own]);
    this.toPrior = new Mlp(arrays, "rssm.to_prior", h, units, 2, numbers);
    const wide = world.units;
    this.decoder = new Mlp(arrays, "decoder", features, wide, world.layers, pixels);
    this.rewards = new Mlp(arrays, "reward", features, wide, world.head_layers, world.bins);
    this.goesOn = new Mlp(arrays, "goes_on", features, wide, world.head_layers, 1);
    this.actor = new Mlp(arrays, "actor", features, behaviour.units, behaviour.layers, actions);
    this.bins = take(arrays, "bins", [world.bins]);
    this.mixed = new Float32Array(h);
    this.inputs = new Float32Array(own + 3 * units);
    this.gated = new Float32Array(3 * own);
    this.features = new Float32Array(features);
  }

  // The deterministic path after an action, one of `actions` by its number: (H), new.
  carry({ deterministic, stochastic }, action) {
    const { blocks, units } = this.rssm;
    const own = deterministic.length / blocks;
    const oneHot = Float32Array.from({ length: this.actions }, (_, a) => Number(a === action));
    this.inputs.set(this.fromState.read(deterministic), own);
    this.inputs.set(this.fromDice.read(stochastic), own + units);
    this.inputs.set(this.fromAction.read(oneHot), own + 2 * units);
    const part = (array, g) => array.subarray((g * array.length) / blocks, ((g + 1) * array.length) / blocks);
    for (let g = 0; g < blocks; g++) {
      this.inputs.set(part(deterministic, g));
      dense(part(this.mix, g), part(this.mixBias, g), this.inputs, part(this.mixed, g));
    }
    normed(this.norm, this.mixed);
    const carried = new Float32Array(deterministic.length);
    for (let g = 0; g < blocks; g++) {
      dense(part(this.gates, g), part(this.gatesBias, g), part(this.mixed, g), this.gated);
      for (let i = 0, at = g * own; i < own; i++, at++) {
        const candidate = Math.tanh(sigmoid(this.gated[i]) * this.gated[own + i]);
        const update = sigmoid(this.gated[2 * own + i] - 1);
        carried[at] = deterministic[at] + update * (candidate - deterministic[at]);
      }
    }
    return carried;
  }

  // Probabilities of all dice before anything is seen: (Z K).
  prior(deterministic) {
    const { variables, classes, unimix } = this.rssm;
    const logits = this.toPrior.read(deterministic);
    const shares = new Float64Array(logits.length);
    for (let z = 0; z < variables; z++) {
      const one = softmax(logits.subarray(z * classes, (z + 1) * classes));
      one.forEach((share, k) => (shares[z * classes + k] = (1 - unimix) * share + unimix / classes));
    }
    return shares;
  }

  // One step without seeing; `uniform()` throws the dice, one after the other.
  imagine(state, action, uniform) {
    const { variables, classes } = this.rssm;
    const deterministic = this.carry(state, action);
    const shares = this.prior(deterministic);
    const stochastic = new Float32Array(shares.length);
    for (let z = 0; z < variables; z++) {
      const drawn = uniform();
      let k = 0;
      for (let sum = shares[z * classes]; k < classes - 1 && sum <= drawn;) sum += shares[z * classes + ++k];
      stochastic[z * classes + k] = 1;
    }
    return { deterministic, stochastic };
  }

  // What a state looks like, pays, whether the game goes on after it, and what the actor would do.
  look({ deterministic, stochastic }) {
    this.features.set(deterministic);
    this.features.set(stochastic, deterministic.length);
    const logits = this.actor.read(this.features);
    return {
      picture: Float32Array.from(this.decoder.read(this.features), (v) => Math.min(Math.max(v, 0), 1)),
      reward: expected(this.rewards.read(this.features), this.bins),
      goesOn: Math.min(sigmoid(this.goesOn.read(this.features)[0]) / this.discount, 1),
      choice: logits.indexOf(Math.max(...logits)),
    };
  }
}

// The states in which games begin, as the weights bring them.
export function startsOf(arrays, { rssm }) {
  const { deterministic: h, variables, classes } = rssm;
  const count = arrays["starts.deterministic"]?.shape[0] ?? 0;
  if (!count) throw new Error("there is no moment to start from");
  const parts = { deterministic: h, stochastic: variables * classes };
  const row = (name, i) =>
    take(arrays, `starts.${name}`, [count, parts[name]]).subarray(i * parts[name], (i + 1) * parts[name]);
  return Array.from({ length: count }, (_, i) =>
    ({ deterministic: row("deterministic", i), stochastic: row("stochastic", i) }));
}

// Where most light falls in a picture, as `wmlib.envs.catch.read` finds it: {ball: {row, column, light},
// paddle: {column, light}}, with light from 0 to 1.
export function read(picture, { side, rows, columns, cellHeight, cellWidth }) {
  const light = (top, bottom, column) => {
    let sum = 0;
    for (let y = top; y < bottom; y++) {
      for (let x = column * cellWidth; x < (column + 1) * cellWidth; x++) sum += picture[y * side + x];
    }
    return sum / ((bottom - top) * cellWidth);
  };
  const best = (places) => places.reduce((a, b) => (b.light > a.light ? b : a));
  const cells = Array.from({ length: rows * columns }, (_, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    const [top, bottom] = [Math.floor(cellHeight * row), Math.ceil(cellHeight * (row + 1))];
    return { row, column, light: light(top, bottom, column) };
  });
  const paddles = Array.from({ length: columns }, (_, column) =>
    ({ column, light: light(side - 1, side, column) }));
  return { ball: best(cells), paddle: best(paddles) };
}
