// The two functions in which a denoiser's pass spends its time, by WebAssembly where the browser has
// it with vectors (SIMD), else in plain JavaScript. Both work on one array of float32, `numbers`,
// and say where things lie by their places in it.
//
// A picture (S, S, C) has its channels last and a border of one pixel, (S + 2, S + 2, C), that stays
// zero. C is a multiple of 4, of 8 for what a convolution writes, and S one of 4.

import { sigmoid } from "../page/engine.js";
import compiled from "./kernels.wasm.js";

const BYTES = 4; // of a number
const PAGE = 65536; // bytes by which WebAssembly's memory grows
const EPS = 1e-5; // of the norm

// Plain JavaScript.
export class Plain {
  constructor() {
    this.by = "plain JavaScript, since WebAssembly is refused here";
    this.numbers = new Float32Array(0);
    this.used = 8; // the place 0 stands for nothing
  }

  // So many numbers, all zero: their place.
  reserve(count) {
    const at = this.used;
    this.used += 4 * Math.ceil(count / 4);
    if (this.used > this.numbers.length) {
      const more = new Float32Array(2 * this.used);
      more.set(this.numbers);
      this.numbers = more;
    }
    return at;
  }

  // y (side, side, outputs) = bias + [from] + convolution of x, whose rows have `across` pixels with
  // their border. The weights are (outputs / 8, kernel, kernel, inputs, 8), `kernel` is 1 or 3.
  convolve(x, inputs, across, weight, bias, from, y, outputs, side, kernel, stride) {
    const { numbers } = this;
    const run = kernel * inputs;
    const row = across * inputs;
    const inset = kernel === 1 ? row + inputs : 0;
    const sums = new Float64Array(8);
    for (let o = 0; o < outputs; o += 8, weight += 8 * kernel * run) {
      for (let i = 0; i < side; i++) {
        for (let j = 0; j < side; j++) {
          const at = ((i + 1) * (side + 2) + j + 1) * outputs + o;
          for (let k = 0; k < 8; k++) sums[k] = numbers[bias + o + k] + (from ? numbers[from + at + k] : 0);
          let [a, b, c, d, e, f, g, h] = sums;
          for (let k = 0, w = weight; k < kernel; k++) {
            let p = x + inset + (stride * i + k) * row + stride * j * inputs;
            for (const end = p + run; p < end; p++, w += 8) {
              const value = numbers[p];
              a += value * numbers[w];
              b += value * numbers[w + 1];
              c += value * numbers[w + 2];
              d += value * numbers[w + 3];
              e += value * numbers[w + 4];
              f += value * numbers[w + 5];
              g += value * numbers[w + 6];
              h += value * numbers[w + 7];
            }
          }
          numbers.set([a, b, c, d, e, f, g, h], y + at);
        }
      }
    }
  }

  // y = silu(group norm of x (side, side, channels) * scale + shift), both of them (channels).
  normalise(x, y, side, channels, groups, scale, shift) {
    const { numbers } = this;
    const own = channels / groups;
    const each = (group, call) => {
      for (let i = 1; i <= side; i++) {
        for (let j = 1; j <= side; j++) {
          const at = (i * (side + 2) + j) * channels + group;
          for (let c = 0; c < own; c++) call(at + c, group + c);
        }
      }
    };
    for (let group = 0; group < channels; group += own) {
      let sum = 0;
      let squares = 0;
      each(group, (at) => (sum += numbers[x + at]));
      const mean = sum / (own * side * side);
      each(group, (at) => (squares += (numbers[x + at] - mean) ** 2));
      const rate = 1 / Math.sqrt(squares / (own * side * side) + EPS);
      each(group, (at, c) => {
        const value = (numbers[x + at] - mean) * rate * numbers[scale + c] + numbers[shift + c];
        numbers[y + at] = value * sigmoid(value);
      });
    }
  }
}

// The same by WebAssembly, whose memory is the array.
export class Simd {
  constructor({ exports }) {
    this.by = "WebAssembly with SIMD";
    this.exports = exports;
    this.used = Math.ceil(exports.__heap_base.value / 64) * 16;
    this.see();
  }

  see() {
    this.numbers = new Float32Array(this.exports.memory.buffer);
  }

  reserve(count) {
    const at = this.used;
    this.used += 4 * Math.ceil(count / 4);
    const lacking = this.used - this.numbers.length;
    if (lacking > 0) {
      this.exports.memory.grow(Math.ceil((BYTES * (lacking + this.used)) / PAGE));
      this.see();
    }
    return at;
  }

  convolve(x, inputs, across, weight, bias, from, y, outputs, side, kernel, stride) {
    this.exports.convolve(BYTES * x, inputs, across, BYTES * weight, BYTES * bias, BYTES * from,
      BYTES * y, outputs, side, kernel, stride);
  }

  normalise(x, y, side, channels, groups, scale, shift) {
    this.exports.normalise(BYTES * x, BYTES * y, side, channels, groups, BYTES * scale, BYTES * shift);
  }
}

// The fastest that there is: WebAssembly may be missing, switched off, or without vectors.
export async function kernels() {
  try {
    const bytes = Uint8Array.from(atob(compiled), (c) => c.charCodeAt(0));
    const { instance } = await WebAssembly.instantiate(bytes);
    return new Simd(instance);
  } catch {
    return new Plain();
  }
}
