// How long a dream knows more than a guess: its frames held against the real ones. Nothing here
// touches the page; quality.py does the same in Python, and a test holds the two together.

import { Dream } from "../page/engine.js";

// Mean squared error of a picture with values in [0, 1] against a frame of as many bytes.
export function squaredError(picture, frame) {
  let sum = 0;
  for (let i = 0; i < frame.length; i++) sum += (picture[i] - frame[i] / 255) ** 2;
  return sum / frame.length;
}

// A dream under given actions, as far as it has been dreamed and held against real frames.
export class Forecast {
  constructor(memory, start, random) {
    this.dream = new Dream(memory, start, random);
    this.codes = [];
    this.rewards = [];
    this.errors = [];
  }

  step(action, temperature) {
    this.rewards.push(this.dream.step(action, temperature).reward);
    this.codes.push(this.dream.z.slice());
  }

  compare(decoder, frame) {
    this.errors.push(squaredError(decoder.decode(this.codes[this.errors.length]), frame));
  }
}

// Dream all forecasts to the end of the actions, in pieces.
export function* dreamOn(forecasts, actions, temperature) {
  for (const forecast of forecasts) {
    while (forecast.codes.length < actions.length) {
      forecast.step(actions[forecast.codes.length], temperature);
      yield;
    }
  }
}

// Hold all forecasts against the real frames, moment by moment, in pieces.
export function* compareAll(forecasts, decoder, frames) {
  for (let t = 0; t < frames.length; t++) {
    for (const forecast of forecasts) {
      if (forecast.errors.length > t) continue;
      forecast.compare(decoder, frames[t]);
      yield;
    }
  }
}

// Of rows of numbers, at each place that all of them reach: {mean, low, high}.
export function spread(rows) {
  const length = Math.min(...rows.map((row) => row.length));
  const columns = Array.from({ length }, (_, t) => rows.map((row) => row[t]));
  return {
    mean: columns.map((column) => column.reduce((a, b) => a + b) / column.length),
    low: columns.map((column) => Math.min(...column)),
    high: columns.map((column) => Math.max(...column)),
  };
}

export function runningSum(numbers) {
  let sum = 0;
  return Array.from(numbers, (x) => (sum += x));
}

// The first stretch of decisions 1, 2, ... in which errors are below others: {from, until}, both 0
// if there is none, `until` null if it does not end; and in how many decisions after it they are
// below again.
export function betterStretch(errors, others) {
  const better = errors.map((error, i) => error < others[i]);
  const from = better.indexOf(true) + 1;
  if (!from) return { from: 0, until: 0, again: 0 };
  const until = better.indexOf(false, from);
  if (until < 0) return { from, until: null, again: 0 };
  return { from, until, again: better.slice(until).filter(Boolean).length };
}

// That stretch as a sentence, for so many dreams of `most` decisions; `seconds(decision)` is a text.
export function stretchInWords({ from, until, again }, dreams, most, seconds) {
  const [who, s, are] = dreams === 1
    ? ["The dream", "s", "it is"] : [`On average the ${dreams} dreams`, "", "they are"];
  if (!from) return `${who} never beat${s} repeating the last frame.`;
  const where = until === null ? `from decision ${from} to the last, ${most}`
    : from === until ? `at decision ${until} only`
      : from === 1 ? `up to decision ${until} (${seconds(until)})`
        : `from decision ${from} to ${until} (${seconds(until)})`;
  const then = until === null ? "" : `; then ${are} no better`;
  const later = again ? ` Later ${are} better again, at ${again} of ${most - until} decisions.` : "";
  return `${who} beat${s} repeating the last frame ${where}${then}.${later}`;
}
