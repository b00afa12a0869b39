// The denoiser: the U-Net of wmlib.agents.diamond between its scales. A test holds it to PyTorch's
// numbers, in Node and in a browser. What costs time is done by one of the two kernels.
//
// Letters as in the library: L past frames, A actions, D conditions, C channels. A frame (side, side,
// 3) has values in [-1, 1].

import { dense, sigmoid, take } from "../page/engine.js";

export const COLOURS = 3;
const LANES = 8; // outputs that a convolution makes at a time

const silu = (x) => x.map((value) => value * sigmoid(value));

// A place for pictures among the kernels' numbers, with the border that stays zero.
class Place {
  constructor(kernels, side, channels) {
    Object.assign(this, { kernels, side, channels });
    this.at = kernels.reserve((side + 2) ** 2 * channels);
  }

  // Where the pixel in that row and column begins.
  pixel(i, j) {
    return this.at + ((i + 1) * (this.side + 2) + j + 1) * this.channels;
  }

  // Take over another's channels, from the channel `first` on; each pixel `times` times either way.
  copy(from, first = 0, times = 1) {
    const { numbers } = this.kernels;
    for (let i = 0; i < this.side; i++) {
      for (let j = 0; j < this.side; j++) {
        const begin = from.pixel(Math.floor(i / times), Math.floor(j / times));
        numbers.copyWithin(this.pixel(i, j) + first, begin, begin + from.channels);
      }
    }
    return this;
  }
}

class Convolution {
  constructor(kernels, arrays, name, inputs, outputs, kernel = 3, stride = 1) {
    const wide = LANES * Math.ceil(outputs / LANES);
    const area = kernel * kernel;
    Object.assign(this, { kernels, inputs, kernel, stride, outputs: wide });
    const weight = take(arrays, `${name}.weight`, [outputs, inputs, kernel, kernel]);
    const bias = take(arrays, `${name}.bias`, [outputs]);
    this.weight = kernels.reserve(wide * inputs * area);
    this.bias = kernels.reserve(wide);
    const { numbers } = kernels;
    numbers.set(bias, this.bias);
    for (let o = 0, from = 0; o < outputs; o++) {
      const block = this.weight + Math.floor(o / LANES) * LANES * inputs * area + (o % LANES);
      for (let i = 0; i < inputs; i++) {
        for (let k = 0; k < area; k++, from++) numbers[block + (k * inputs + i) * LANES] = weight[from];
      }
    }
  }

  // y = the convolution of x, on top of what is in `from`.
  apply(x, y, from = null) {
    this.kernels.convolve(x.at, this.inputs, x.side + 2, this.weight, this.bias, from ? from.at : 0,
      y.at, this.outputs, y.side, this.kernel, this.stride);
    return y;
  }
}

// Group norm with SiLU behind it; its scale and shift are read off the conditions, or are its own.
class Norm {
  constructor(kernels, arrays, name, channels, group, conditions = 0) {
    Object.assign(this, { kernels, channels });
    this.groups = Math.max(1, Math.floor(channels / group));
    this.moved = kernels.reserve(2 * channels); // the scale and the shift
    if (conditions) {
      this.weight = take(arrays, `${name}.linear.weight`, [2 * channels, conditions]);
      this.bias = take(arrays, `${name}.linear.bias`, [2 * channels]);
      this.told = new Float32Array(2 * channels);
    } else {
      kernels.numbers.set(take(arrays, `${name}.weight`, [channels]), this.moved);
      kernels.numbers.set(take(arrays, `${name}.bias`, [channels]), this.moved + channels);
    }
  }

  apply(x, y, conditions) {
    if (this.told) {
      const { numbers } = this.kernels;
      numbers.set(dense(this.weight, this.bias, conditions, this.told), this.moved);
      for (let c = this.moved; c < this.moved + this.channels; c++) numbers[c] += 1;
    }
    this.kernels.normalise(x.at, y.at, x.side, this.channels, this.groups, this.moved,
      this.moved + this.channels);
    return y;
  }
}

// The network: what a noisy frame, its noise, the frames before it and what was chosen in them say.
export class UNet {
  constructor(arrays, { network, past, actions, side }, kernels) {
    const { channels, depth, waves, group, fold } = network;
    const conditions = 2 * waves;
    Object.assign(this, { kernels, past, side, fold, conditions });
    this.places = new Map();
    this.frequencies = take(arrays, "noise.frequencies", [waves]);
    const linear = (name, inputs) => ({
      weight: take(arrays, `${name}.weight`, [conditions, inputs]),
      bias: take(arrays, `${name}.bias`, [conditions]),
    });
    this.acted = linear("acted", past * actions);
    this.mix = [linear("mix.0", conditions), linear("mix.2", conditions)];

    const convolution = (...sizes) => new Convolution(kernels, arrays, ...sizes);
    const norm = (...sizes) => new Norm(kernels, arrays, ...sizes);
    const finest = side / fold;
    const pixel = COLOURS * fold * fold;
    this.seen = new Place(kernels, finest, (past + 1) * pixel);
    this.folded = Array.from({ length: past + 1 }, (_, t) => this.foldedPlaces(t));
    this.first = convolution("first", (past + 1) * pixel, channels[0]);
    // Blocks in a row, each {norm1, conv1, norm2, conv2, round, out} at one size of picture.
    const blocks = (name, inputs, outputs, size) => Array.from({ length: depth }, (_, i) => {
      const own = i ? outputs : inputs;
      const at = `${name}.${i}`;
      return {
        norm1: norm(`${at}.norm1`, own, group, conditions),
        conv1: convolution(`${at}.conv1`, own, outputs),
        norm2: norm(`${at}.norm2`, outputs, group, conditions),
        conv2: convolution(`${at}.conv2`, outputs, outputs),
        round: own === outputs ? null : convolution(`${at}.round`, own, outputs, 1),
        out: new Place(kernels, size, outputs),
      };
    });
    const levels = channels.length;
    this.levels = channels.map((size, level) => {
      const above = channels[Math.max(level - 1, 0)];
      const here = finest / 2 ** level;
      return {
        coarser: level ? convolution(`coarser.${level - 1}`, above, above, 3, 2) : null,
        entered: new Place(kernels, here, above),
        down: blocks(`down.${level}`, above, size, here),
        joined: new Place(kernels, here, 2 * size),
        up: blocks(`up.${level}`, 2 * size, above, here),
        larger: level ? new Place(kernels, 2 * here, above) : null,
        finer: level ? convolution(`finer.${level - 1}`, above, above) : null,
        risen: level ? new Place(kernels, 2 * here, above) : null,
      };
    });
    const deepest = channels[levels - 1];
    this.middle = blocks("middle", deepest, deepest, finest / 2 ** (levels - 1));
    this.norm = norm("norm", channels[0], group);
    this.last = convolution("last", channels[0], pixel);
    this.drawn = new Place(kernels, finest, this.last.outputs);
    this.unfolded = this.foldedPlaces(0, this.drawn);
  }

  // A place for what lies between two layers: the next one that asks for this size gets it, too.
  between(word, side, channels) {
    const key = `${word} ${side} ${channels}`;
    if (!this.places.has(key)) this.places.set(key, new Place(this.kernels, side, channels));
    return this.places.get(key);
  }

  // Where the numbers of the frame `t` stand when each square of pixels is folded into channels.
  foldedPlaces(t, place = this.seen) {
    const { side, fold } = this;
    const places = new Int32Array(side * side * COLOURS);
    for (let y = 0, n = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        const corner = place.pixel(Math.floor(y / fold), Math.floor(x / fold));
        for (let k = 0; k < COLOURS; k++, n++) {
          places[n] = corner + ((t * COLOURS + k) * fold + (y % fold)) * fold + (x % fold);
        }
      }
    }
    return places;
  }

  // Put `factor` times a frame where the network reads the frame `t`, the noisy one after the past.
  show(t, frame, factor) {
    const { numbers } = this.kernels;
    const places = this.folded[t];
    for (let n = 0; n < places.length; n++) numbers[places[n]] = factor * frame[n];
  }

  // What the noise and the choices (L A) come to: (D).
  conditionsOf(noise, chosen) {
    const waves = this.frequencies.length;
    const sum = new Float32Array(this.conditions);
    dense(this.acted.weight, this.acted.bias, chosen, sum);
    this.frequencies.forEach((frequency, i) => {
      const angle = 2 * Math.PI * noise * frequency;
      sum[i] += Math.cos(angle);
      sum[waves + i] += Math.sin(angle);
    });
    const [before, after] = this.mix;
    const hidden = silu(dense(before.weight, before.bias, sum, new Float32Array(this.conditions)));
    return dense(after.weight, after.bias, hidden, new Float32Array(this.conditions));
  }

  run(blocks, start, conditions) {
    return blocks.reduce((x, { norm1, conv1, norm2, conv2, round, out }) => {
      const h = conv1.apply(
        norm1.apply(x, this.between("normed", x.side, x.channels), conditions),
        this.between("inside", x.side, out.channels));
      const way = round ? round.apply(x, out) : x;
      return conv2.apply(norm2.apply(h, this.between("normed", x.side, out.channels), conditions), out, way);
    }, start);
  }

  // The network's answer (side, side, 3) into `out`, after all its frames were shown.
  say(noise, chosen, out) {
    const conditions = this.conditionsOf(noise, chosen);
    const skips = [];
    let x = this.seen;
    for (const { coarser, entered, down } of this.levels) {
      x = (coarser ?? this.first).apply(x, entered);
      x = this.run(down, x, conditions);
      skips.push(x);
    }
    x = this.run(this.middle, x, conditions);
    for (let level = this.levels.length - 1; level >= 0; level--) {
      const { joined, up, larger, finer, risen } = this.levels[level];
      joined.copy(x).copy(skips[level], x.channels);
      x = this.run(up, joined, conditions);
      if (level) x = finer.apply(larger.copy(x, 0, 2), risen);
    }
    this.last.apply(this.norm.apply(x, this.between("normed", x.side, x.channels)), this.drawn);
    const { numbers } = this.kernels;
    this.unfolded.forEach((place, n) => (out[n] = numbers[place]));
    return out;
  }
}

// Between its scales, which keep the variance of what it reads and says (Karras et al. 2022, "EDM").
export class Denoiser {
  constructor(arrays, header, kernels) {
    this.config = header.denoiser;
    this.network = new UNet(arrays, header, kernels);
    this.said = new Float32Array(header.side ** 2 * COLOURS);
  }

  // The frames (L) and choices (L A) that come before what is to be denoised.
  see(past, chosen) {
    past.forEach((frame, t) => this.network.show(t, frame, 1 / this.config.data));
    this.chosen = chosen;
  }

  // A noisy frame without its noise, of deviation sigma, into `out`: rounded to what bytes can say.
  denoise(noisy, sigma, out) {
    const { data, offset, levels } = this.config;
    const noise = sigma ** 2 + offset ** 2; // variance
    const whole = noise + data ** 2;
    const skip = data ** 2 / whole;
    const output = data * Math.sqrt(noise / whole);
    this.network.show(this.network.past, noisy, 1 / Math.sqrt(whole));
    const said = this.network.say(Math.log(noise) / 8, this.chosen, this.said);
    for (let n = 0; n < out.length; n++) out[n] = quantised(skip * noisy[n] + output * said[n], levels);
    return out;
  }
}

// The nearest number in [-1, 1] of those that stand for the whole numbers from 0 to `levels`.
export function quantised(value, levels) {
  const level = Math.round(((Math.min(Math.max(value, -1), 1) + 1) / 2) * levels);
  return (level / levels) * 2 - 1;
}
