// The forward pass of V's decoder, M and C in plain JavaScript, for pages that have no kernel.
//
// Nothing here touches the page; a test holds each function to PyTorch's numbers, in Node and in a
// browser. Letters as in the library: Z latent, H hidden, A action, K mixture components. Pictures
// are stored with channels last, (side, side, C), which keeps the inner loops long.

const MAGIC = "WMLIB-1\n";

// Bytes of page/weights.py -> {header, arrays: name -> {shape, values: Float32Array}}.
export function unpack(bytes) {
  const view = ArrayBuffer.isView(bytes)
    ? new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    : new DataView(bytes);
  const text = (from, to) =>
    new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset + from, to - from));
  const start = MAGIC.length + 4;
  if (view.byteLength < start || text(0, MAGIC.length) !== MAGIC) {
    throw new Error("these bytes are not weights that wmlib packed");
  }
  const data = start + view.getUint32(MAGIC.length, true);
  if (data > view.byteLength) throw new Error("the weights were cut short");
  const header = JSON.parse(text(start, data));
  if (data + header.bytes !== view.byteLength) throw new Error("the weights were cut short");
  const arrays = {};
  for (const [name, entry] of Object.entries(header.arrays)) {
    const values = new Float32Array(entry.shape.reduce((a, b) => a * b, 1));
    read(view, data, entry, header.block, values);
    if (!values.every(Number.isFinite)) throw new Error(`${name} holds NaN or infinity`);
    arrays[name] = { shape: entry.shape, values };
  }
  return { header, arrays };
}

// Fill `values` from one entry: float32 as it is, or integers times the scale of their block.
function read(view, data, entry, block, values) {
  const at = data + entry.at;
  if (entry.bits === 32) {
    for (let i = 0; i < values.length; i++) values[i] = view.getFloat32(at + 4 * i, true);
    return;
  }
  for (let i = 0, b = 0; i < values.length; b++) {
    const scale = view.getFloat32(data + entry.scales + 4 * b, true);
    for (const end = Math.min(i + block, values.length); i < end; i++) {
      values[i] = scale * (entry.bits === 8 ? view.getInt8(at + i) : view.getInt16(at + 2 * i, true));
    }
  }
}

// The array of that name, which must have that shape.
export function take(arrays, name, shape) {
  const found = arrays[name];
  if (!found) throw new Error(`the weights lack ${name}`);
  if (String(found.shape) !== String(shape)) {
    throw new Error(`${name} has shape ${found.shape}, expected ${shape}`);
  }
  return found.values;
}

// Random numbers of NumPy's RandomState(seed): the Mersenne Twister of Matsumoto and Nishimura
// (1998), uniforms of 53 bits, normals by Marsaglia's polar method. So Python can dream alongside.
export class Random {
  constructor(seed) {
    this.state = new Uint32Array(624);
    this.state[0] = seed;
    for (let i = 1; i < 624; i++) {
      const last = this.state[i - 1] ^ (this.state[i - 1] >>> 30);
      this.state[i] = Math.imul(1812433253, last) + i;
    }
    this.at = 624;
    this.spare = null;
  }

  bits() {
    const s = this.state;
    if (this.at === 624) {
      for (let i = 0; i < 624; i++) {
        const y = (s[i] & 0x80000000) | (s[(i + 1) % 624] & 0x7fffffff);
        s[i] = s[(i + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      this.at = 0;
    }
    let y = s[this.at++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  uniform() {
    const a = this.bits() >>> 5;
    const b = this.bits() >>> 6;
    return (a * 67108864 + b) / 9007199254740992;
  }

  normal() {
    if (this.spare !== null) {
      const kept = this.spare;
      this.spare = null;
      return kept;
    }
    for (;;) {
      const x = 2 * this.uniform() - 1;
      const y = 2 * this.uniform() - 1;
      const square = x * x + y * y;
      if (square > 0 && square < 1) {
        const factor = Math.sqrt((-2 * Math.log(square)) / square);
        this.spare = factor * x;
        return factor * y;
      }
    }
  }
}

export const sigmoid = (x) => 1 / (1 + Math.exp(-x));

// out (rows) = [bias +] weight (rows, columns) x (columns); without a bias it adds to `out`.
export function dense(weight, bias, x, out) {
  const columns = x.length;
  for (let r = 0, w = 0; r < out.length; r++) {
    let sum = bias ? bias[r] : out[r];
    for (let c = 0; c < columns; c++, w++) sum += weight[w] * x[c];
    out[r] = sum;
  }
  return out;
}

// Weights of a transposed convolution from PyTorch's (in, out, k, k) to (in, k, k, out).
export function channelsLast(values, inputs, outputs, k) {
  const moved = new Float32Array(values.length);
  for (let i = 0, w = 0; i < inputs; i++) {
    for (let o = 0; o < outputs; o++) {
      for (let p = 0; p < k * k; p++, w++) moved[(i * k * k + p) * outputs + o] = values[w];
    }
  }
  return moved;
}

// Transposed convolution: x (side, side, in) -> out (n, n, out) with n = stride (side - 1) + k.
// `weight` is (in, k, k, out), see channelsLast. A pixel adds k runs of k * out numbers.
export function convolveTransposed(weight, bias, x, out, side, k, stride) {
  const outputs = bias.length;
  const inputs = x.length / (side * side);
  const run = k * outputs;
  const row = (stride * (side - 1) + k) * outputs;
  for (let i = 0; i < out.length; i += outputs) out.set(bias, i);
  for (let y = 0, at = 0; y < side; y++) {
    for (let column = 0; column < side; column++) {
      const corner = stride * (y * row + column * outputs);
      for (let i = 0; i < inputs; i++, at++) {
        const value = x[at];
        if (value === 0) continue; // about half of what a ReLU leaves
        let w = i * k * run;
        for (let ky = 0; ky < k; ky++) {
          let o = corner + ky * row;
          for (const end = o + run; o < end; o++, w++) out[o] += value * weight[w];
        }
      }
    }
  }
  return out;
}

function rectify(x) {
  for (let i = 0; i < x.length; i++) if (x[i] < 0) x[i] = 0;
}

// V's decoder: a code (Z) -> a picture (64, 64, 3) with values in [0, 1].
export class Decoder {
  constructor(arrays, { latent, channels }) {
    const [c1, c2, c3, c4] = channels;
    this.latent = latent;
    this.weight = take(arrays, "vision.from_code.weight", [4 * c4, latent]);
    this.bias = take(arrays, "vision.from_code.bias", [4 * c4]);
    this.features = new Float32Array(4 * c4);
    const sizes = [[4 * c4, c3, 5], [c3, c2, 5], [c2, c1, 6], [c1, 3, 6]]; // in, out, kernel
    let side = 1;
    this.layers = sizes.map(([inputs, outputs, k], i) => {
      const name = `vision.deconvolutions.${2 * i + 1}`;
      const weight = take(arrays, `${name}.weight`, [inputs, outputs, k, k]);
      const before = side;
      side = 2 * (side - 1) + k;
      return {
        weight: channelsLast(weight, inputs, outputs, k),
        bias: take(arrays, `${name}.bias`, [outputs]),
        out: new Float32Array(side * side * outputs),
        side: before,
        k,
      };
    });
    this.side = side; // 64
  }

  // The picture is overwritten by the next call.
  decode(z) {
    let x = dense(this.weight, this.bias, z, this.features);
    for (const { weight, bias, out, side, k } of this.layers) {
      if (x !== this.features) rectify(x);
      x = convolveTransposed(weight, bias, x, out, side, k, 2);
    }
    for (let i = 0; i < x.length; i++) x[i] = sigmoid(x[i]);
    return x;
  }
}

// M: what a code, an action and a memory say of the next moment.
export class Memory {
  constructor(arrays, config) {
    const { latent: Z, actions: A, hidden: H, mixtures: K } = config;
    this.config = config;
    this.ofInput = take(arrays, "memory.lstm.weight_ih_l0", [4 * H, Z + A]);
    this.ofHidden = take(arrays, "memory.lstm.weight_hh_l0", [4 * H, H]);
    this.gateBias = take(arrays, "memory.lstm.bias", [4 * H]);
    this.heads = ["mixture", "reward", "end"].map((name) => {
      const rows = name === "mixture" ? 3 * K * Z : 1;
      return {
        weight: take(arrays, `memory.${name}.weight`, [rows, H]),
        bias: take(arrays, `memory.${name}.bias`, [rows]),
        out: new Float32Array(rows),
      };
    });
    this.input = new Float32Array(Z + A);
    this.gates = new Float32Array(4 * H);
  }

  // Read one decision; `hidden` and `cell` (H) change in place. Gates in PyTorch's order i, f, g, o.
  step(hidden, cell, z, action) {
    const H = this.config.hidden;
    this.input.set(z);
    this.input.set(action, this.config.latent);
    const gates = dense(this.ofInput, this.gateBias, this.input, this.gates);
    dense(this.ofHidden, null, hidden, gates);
    for (let j = 0; j < H; j++) {
      const written = sigmoid(gates[j]) * Math.tanh(gates[2 * H + j]);
      cell[j] = sigmoid(gates[H + j]) * cell[j] + written;
      hidden[j] = sigmoid(gates[3 * H + j]) * Math.tanh(cell[j]);
    }
  }

  // Raw outputs (3, K, Z) of the mixture, the expected reward, and the probability of the end.
  predict(hidden) {
    const [mixture, reward, end] = this.heads.map((h) => dense(h.weight, h.bias, hidden, h.out));
    const { reward: kind, reward_scale: scale, reward_offset: offset } = this.config;
    const events = kind === "poisson" ? Math.exp(Math.min(reward[0], 5)) : reward[0];
    return { mixture, reward: offset + scale * events, end: sigmoid(end[0]) };
  }

  // Draw the next code into `z`: for each number a component from softmax(log pi / temperature),
  // then a normal with its mean and sigma * sqrt(temperature) (Ha & Schmidhuber 2018).
  sample(mixture, temperature, uniforms, normals, z) {
    const { latent: Z, mixtures: K, log_sigma_range: [low, high] } = this.config;
    const weights = new Float64Array(K);
    for (let j = 0; j < Z; j++) {
      let most = -Infinity;
      for (let k = 0; k < K; k++) most = Math.max(most, mixture[k * Z + j]);
      let total = 0;
      for (let k = 0; k < K; k++) {
        total += Math.exp((mixture[k * Z + j] - most) / temperature);
        weights[k] = total;
      }
      let chosen = 0;
      while (chosen < K - 1 && weights[chosen] < uniforms[j] * total) chosen++;
      const at = chosen * Z + j;
      const sigma = Math.exp(Math.min(Math.max(mixture[2 * K * Z + at], low), high));
      z[j] = mixture[K * Z + at] + sigma * Math.sqrt(temperature) * normals[j];
    }
  }
}

const SQUASHES = {
  tanh: Math.tanh,
  sigmoid,
  clipped_tanh: (x) => Math.max(Math.tanh(x), 0),
};

// C: action (A) = squash(W [z, h] + b), each action into its own range.
export class Controller {
  constructor(arrays, { latent, hidden, squash }) {
    const unknown = squash.filter((name) => !(name in SQUASHES));
    if (unknown.length) throw new Error(`unknown ways to squash an action: ${unknown}`);
    this.squash = squash;
    this.latent = latent;
    this.weight = take(arrays, "controller.weight", [squash.length, latent + hidden]);
    this.bias = take(arrays, "controller.bias", [squash.length]);
    this.features = new Float32Array(latent + hidden);
    this.action = new Float32Array(squash.length);
  }

  act(z, hidden) {
    this.features.set(z.subarray(0, this.latent));
    this.features.set(hidden.subarray(0, this.features.length - this.latent), this.latent);
    const raw = dense(this.weight, this.bias, this.features, this.action);
    return raw.map((x, i) => SQUASHES[this.squash[i]](x));
  }
}

// The moments from which a dream may start: [{z, hidden, cell}, ...].
export function startsOf(arrays, { latent, hidden }) {
  const sizes = { z: latent, hidden, cell: hidden };
  const count = arrays["starts.z"]?.shape[0] ?? 0;
  if (!count) throw new Error("there is no moment to start from");
  const parts = Object.entries(sizes).map(([name, size]) =>
    [name, size, take(arrays, `starts.${name}`, [count, size])]);
  return Array.from({ length: count }, (_, row) => Object.fromEntries(
    parts.map(([name, size, values]) => [name, values.subarray(row * size, (row + 1) * size)])));
}

// One dream: a code, M's memory, and the noise still to come.
export class Dream {
  constructor(memory, { z, hidden, cell }, random) {
    this.memory = memory;
    this.random = random;
    this.z = Float32Array.from(z);
    this.hidden = Float32Array.from(hidden);
    this.cell = Float32Array.from(cell);
    this.uniforms = new Float64Array(this.z.length);
    this.normals = new Float64Array(this.z.length);
  }

  // One decision. The noise is drawn in the order of DreamEnv: Z uniforms for the
  // components, Z normals, and a uniform for the end.
  step(action, temperature) {
    this.memory.step(this.hidden, this.cell, this.z, action);
    const { mixture, reward, end } = this.memory.predict(this.hidden);
    for (let j = 0; j < this.z.length; j++) this.uniforms[j] = this.random.uniform();
    for (let j = 0; j < this.z.length; j++) this.normals[j] = this.random.normal();
    this.memory.sample(mixture, temperature, this.uniforms, this.normals, this.z);
    return { reward, end, ended: this.random.uniform() < end };
  }
}
