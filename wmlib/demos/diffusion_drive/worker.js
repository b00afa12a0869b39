// The dream in a worker, which answers [word, what is given] one after the other. It is bundled into
// a text of its own, bundle.worker.txt, which the page carries and makes the worker of.

import { Dream } from "./dream.js";
import { kernels } from "./kernels.js";

let dream = null;

const answers = {
  async open([header, arrays]) {
    const made = await kernels();
    dream = new Dream(arrays, header, made);
    return { by: made.by };
  },
  begin([row, seed]) {
    dream.begin(row, seed);
    return {};
  },
  step([action, how]) {
    const began = performance.now();
    Array.from(dream.step(action, how)); // all passes at once: nobody else waits here
    return { picture: dream.picture, milliseconds: performance.now() - began };
  },
};

let last = Promise.resolve();

onmessage = ({ data: [word, given] }) => {
  last = last.then(async () => {
    try {
      postMessage(await answers[word](given));
    } catch (error) {
      postMessage({ error: error.message });
    }
  });
};
