// Where the dream is dreamed: beside the page in a worker, so that the page stays alive; or in the
// page itself, in slices, where a worker is refused. Both have begin(row, seed), step(action, how)
// with {picture, milliseconds} to come, and close().

import { inSlices } from "../page/page.js";
import source from "./bundle.worker.txt";
import { Dream } from "./dream.js";
import { kernels } from "./kernels.js";

class Beside {
  constructor() {
    // A blob, since a page from the disk may load no file.
    this.url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    this.worker = new Worker(this.url);
    this.waiting = []; // those who asked, in their order
    this.worker.onmessage = ({ data }) => {
      const { resolve, reject } = this.waiting.shift();
      if (data.error) reject(new Error(data.error));
      else resolve(data);
    };
    this.worker.onerror = (event) => {
      event.preventDefault();
      this.waiting.splice(0).forEach(({ reject }) => reject(new Refused()));
    };
    this.where = "in a worker beside the page";
  }

  ask(word, given) {
    return new Promise((resolve, reject) => {
      this.waiting.push({ resolve, reject });
      this.worker.postMessage([word, given]);
    });
  }

  async open(header, arrays) {
    Object.assign(this, await this.ask("open", [header, arrays]));
  }

  begin(row, seed) {
    this.ask("begin", [row, seed]);
  }

  step(action, how) {
    return this.ask("step", [action, how]);
  }

  close() {
    this.worker.terminate();
    URL.revokeObjectURL(this.url);
  }
}

// The worker's script did not run: the browser, or a rule of the page's, forbids it.
class Refused extends Error {}

class Here {
  constructor() {
    this.where = "in the page itself";
    this.stop = () => {};
  }

  async open(header, arrays) {
    const made = await kernels();
    this.by = made.by;
    this.dream = new Dream(arrays, header, made);
  }

  begin(row, seed) {
    this.stop();
    this.dream.begin(row, seed);
  }

  step(action, how) {
    const began = performance.now();
    return new Promise((resolve) => {
      this.stop = inSlices(this.dream.step(action, how), () => {}, () =>
        resolve({ picture: this.dream.picture, milliseconds: performance.now() - began }));
    });
  }

  close() {
    this.stop();
  }
}

export async function open(header, arrays) {
  let place = new Here();
  try {
    place = new Beside();
  } catch {
    // There are no workers here.
  }
  try {
    await place.open(header, arrays);
  } catch (error) {
    place.close();
    if (!(error instanceof Refused)) throw error;
    place = new Here();
    await place.open(header, arrays);
  }
  return place;
}
