// What the dream quality explorer carries to a page: models, a real episode, baselines, frames.

import { Decoder, Memory, startsOf, unpack } from "../page/engine.js";
import { make } from "../page/page.js";

// An array (count, size) as its rows.
function rowsOf(arrays, name) {
  if (!arrays[name]) throw new Error(`the weights lack ${name}`);
  const { shape: [count, size = 1], values } = arrays[name];
  return Array.from({ length: count }, (_, i) => values.subarray(i * size, (i + 1) * size));
}

// Packed bytes, taken apart: V and M, and row by row what there is of frames or of starts.
export function partsOf(bytes) {
  const { header, arrays } = unpack(bytes);
  const rows = (name) => rowsOf(arrays, name);
  const numbers = (name) => rows(name).map(([number]) => number);
  return {
    decoder: new Decoder(arrays, header.vision),
    memory: new Memory(arrays, header.memory),
    starts: startsOf(arrays, header.memory),
    codes: rows("episode.codes"),
    actions: rows("episode.actions"),
    rewards: numbers("episode.rewards"),
    first: numbers("episode.first"), // of each start, its frame
    moments: rows("episode.moments"), // of each start, its episode and decision
    repeat: rows("baselines.repeat"),
    mean: rows("baselines.mean"),
    copy: rows("baselines.copy"),
    shown: { settings: numbers("shown.settings"), errors: rows("shown.errors") }, // as Python made it
  };
}

// The frames (side, side, 3), as bytes, of a sheet of `count` pictures side by side.
export async function framesOf(address, side, count) {
  const image = new Image();
  image.src = address;
  await image.decode().catch(() => {
    throw new Error("the frames are no picture that this browser can read");
  });
  const { naturalWidth: width, naturalHeight: height } = image;
  const columns = Math.floor(width / side);
  if (columns * Math.floor(height / side) < count) throw new Error("the frames were cut short");
  const context = make("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return Array.from({ length: count }, (_, i) => {
    const [x, y] = [side * (i % columns), side * Math.floor(i / columns)];
    const { data } = context.getImageData(x, y, side, side);
    return data.filter((_, j) => j % 4 < 3); // no transparency
  });
}
