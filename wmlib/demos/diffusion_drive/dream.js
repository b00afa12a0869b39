// A dream of a denoiser: each frame is drawn out of noise by Euler's steps, after the frames and the
// actions before it.

import { Random, take } from "../page/engine.js";
import { COLOURS, Denoiser, quantised } from "./denoiser.js";

const BYTE = 255;

// The moments from which a dream may start: [{frames: L of (side, side, 3), actions: (L - 1) A}, ...].
export function momentsOf(arrays, { past, actions, side }) {
  const count = arrays["moments.frames"]?.shape[0] ?? 0;
  if (!count) throw new Error("there is no moment to start from");
  const size = side * side * COLOURS;
  const told = (past - 1) * actions;
  const seen = take(arrays, "moments.frames", [count, past, side, side, COLOURS]); // in [0, 1]
  const chosen = take(arrays, "moments.actions", [count, past - 1, actions]);
  return Array.from({ length: count }, (_, i) => ({
    frames: Array.from({ length: past }, (_, t) =>
      seen.slice((i * past + t) * size, (i * past + t + 1) * size).map((v) => quantised(2 * v - 1, BYTE))),
    actions: chosen.slice(i * told, (i + 1) * told),
  }));
}

// A frame (side, side, 3) as a picture with values in [0, 1].
export const pictureOf = (frame) => frame.map((value) => (value + 1) / 2);

export class Dream {
  constructor(arrays, header, kernels) {
    const { side } = header;
    this.denoiser = new Denoiser(arrays, header, kernels);
    this.moments = momentsOf(arrays, header);
    this.sigmas = Object.fromEntries(header.steps.map((steps) =>
      [steps, take(arrays, `sigmas.${steps}`, [steps + 1])]));
    this.area = side * side;
    this.clean = new Float32Array(this.area * COLOURS);
  }

  // From a moment on, with the noise of NumPy's RandomState(seed).
  begin(row, seed) {
    const { frames, actions } = this.moments[row];
    this.frames = [...frames];
    this.actions = actions.slice();
    this.random = new Random(seed);
  }

  // The frame after an action in so many steps, begun with noise of deviation 1 or, if `wide`, as the
  // first step's. A generator, which rests after each step.
  *step(action, { steps, wide }) {
    const sigmas = this.sigmas[steps];
    const x = this.noise(wide ? sigmas[0] : 1);
    const chosen = Float32Array.of(...this.actions, ...action);
    this.denoiser.see(this.frames, chosen);
    for (let i = 0; i < steps; i++) {
      const clean = this.denoiser.denoise(x, sigmas[i], this.clean);
      const share = (sigmas[i + 1] - sigmas[i]) / sigmas[i];
      for (let n = 0; n < x.length; n++) x[n] += (x[n] - clean[n]) * share;
      yield;
    }
    this.frames = [...this.frames.slice(1), x];
    this.actions = chosen.slice(action.length);
  }

  // The newest frame, as a picture.
  get picture() {
    return pictureOf(this.frames.at(-1));
  }

  // Noise (side, side, 3) of that deviation, drawn colour by colour as PyTorch has its frames.
  noise(deviation) {
    const x = new Float32Array(this.area * COLOURS);
    for (let k = 0; k < COLOURS; k++) {
      for (let n = 0; n < this.area; n++) x[n * COLOURS + k] = deviation * this.random.normal();
    }
    return x;
  }
}
