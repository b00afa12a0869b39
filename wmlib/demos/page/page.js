// What the demos put on a page: elements, pictures, a clock that rests, and the panel of latents.

// An element with its attributes, listeners ("onclick") and children.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// An element of SVG with its attributes and children.
export function shape(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export const button = (text, onclick, attributes = {}) =>
  make("button", { type: "button", class: "wm-button", onclick, ...attributes }, text);

// A name for an element that no other has. Drawn at random, because each widget loads this text anew:
// a count would begin again in each, and a page may hold several.
export const newId = (word) => `wm-${word}-${Math.random().toString(36).slice(2)}`;

// A labelled slider that says its value in words: {element, input, set}. (The number beside it is no
// <output>: that is a live region, which a screen reader would read out whenever it changes.)
export function slider(text, { min, max, step, value, say = String, oninput }) {
  const id = newId("slider");
  const shown = make("span", { class: "wm-value", "aria-hidden": "true" });
  const input = make("input", { type: "range", id, min, max, step });
  const show = () => {
    shown.textContent = say(input.valueAsNumber);
    input.setAttribute("aria-valuetext", shown.textContent);
  };
  const set = (number) => {
    input.value = number;
    show();
  };
  input.addEventListener("input", () => {
    show();
    oninput(input.valueAsNumber);
  });
  set(value);
  const element = make("div", { class: "wm-slider" }, make("label", { for: id }, text), shown, input);
  return { element, input, set };
}

// A canvas for pictures (side, side, 3) with values in [0, 1]: {canvas, paint}.
export function screen(side, label) {
  const canvas = make("canvas", { width: side, height: side, role: "img", "aria-label": label });
  const context = canvas.getContext("2d");
  const image = context.createImageData(side, side);
  const paint = (picture) => {
    for (let i = 0, p = 0; i < picture.length; i += 3, p += 4) {
      image.data[p] = 255 * picture[i];
      image.data[p + 1] = 255 * picture[i + 1];
      image.data[p + 2] = 255 * picture[i + 2];
      image.data[p + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  };
  return { canvas, paint };
}

// A line through the latest numbers, newest at the right: {canvas, draw}. For the eye alone: what it
// says must stand in words beside it.
export function trace() {
  const canvas = make("canvas", { class: "wm-trace", width: 480, height: 120, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  const draw = (numbers, low, high, most) => {
    const { width, height } = canvas;
    context.clearRect(0, 0, width, height);
    context.strokeStyle = getComputedStyle(canvas).color;
    context.lineWidth = 3;
    context.beginPath();
    numbers.slice(-most).forEach((number, i, shown) => {
      const x = width - ((shown.length - i) * width) / most;
      context.lineTo(x, height - 8 - ((height - 16) * (number - low)) / (high - low));
    });
    context.stroke();
  };
  return { canvas, draw };
}

export const prefersStillness = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

// Calls tick(seconds since the last) for each picture of the screen while it runs. It stops, and
// says so, when `element` leaves the screen or its page is hidden.
export class Clock {
  constructor(element, tick, onrest) {
    this.tick = tick;
    this.request = null;
    this.rest = () => {
      if (!this.running) return;
      this.stop();
      onrest();
    };
    this.hide = () => document.hidden && this.rest();
    document.addEventListener("visibilitychange", this.hide);
    this.watch = new IntersectionObserver(([entry]) => entry.isIntersecting || this.rest());
    this.watch.observe(element);
  }

  get running() {
    return this.request !== null;
  }

  start() {
    let last = null;
    const next = (now) => {
      this.request = requestAnimationFrame(next);
      const passed = last === null ? 0 : (now - last) / 1000;
      last = now;
      this.tick(passed);
    };
    this.request ??= requestAnimationFrame(next);
  }

  stop() {
    cancelAnimationFrame(this.request);
    this.request = null;
  }

  remove() {
    this.stop();
    this.watch.disconnect();
    document.removeEventListener("visibilitychange", this.hide);
  }
}

// One slider for each number of a code: {element, show, hold}. `onchange(i, value)` when the reader
// moves one; they stand in that order. `show(z)` moves all but the one that the reader holds, and `hold(z)` writes that one
// back into a code.
export function latentPanel(latent, onchange, order = Array.from({ length: latent }, (_, i) => i)) {
  let held = null;
  const sliders = Array.from({ length: latent }, (_, i) => {
    const made = slider(make("span", {}, "z", make("sub", {}, String(i))), {
      min: -4,
      max: 4,
      step: 0.05,
      value: 0,
      say: (value) => value.toFixed(2).replace("-", "−"),
      oninput: (value) => onchange(i, value),
    });
    made.input.addEventListener("pointerdown", () => (held = i));
    for (const name of ["pointerup", "pointercancel", "change"]) {
      made.input.addEventListener(name, () => (held = null));
    }
    return made;
  });
  const element = make("div", { class: "wm-latents" }, ...Array.from(order, (i) => sliders[i].element));
  return {
    element,
    show: (z) => sliders.forEach((made, i) => i === held || made.set(z[i])),
    hold: (z) => {
      if (held !== null) z[held] = sliders[held].input.valueAsNumber;
    },
  };
}

// A line of numbers by name: {element, value}, with a bar between them if there is one.
export function fact(name, bar = null) {
  const value = make("span", { class: "wm-value" });
  const element = make("div", { class: "wm-fact" }, make("span", {}, name), ...(bar ? [bar] : []), value);
  return { element, value };
}

// Work through a generator in slices of about `budget` milliseconds, between which the page lives on:
// `onslice()` after each, `ondone()` at the end. Returns a function that stops it.
export function inSlices(work, onslice, ondone, budget = 12) {
  let timer = null;
  const go = () => {
    const end = performance.now() + budget;
    do {
      if (work.next().done) return ondone();
    } while (performance.now() < end);
    onslice();
    timer = setTimeout(go);
    return undefined;
  };
  timer = setTimeout(go);
  return () => clearTimeout(timer);
}

// Put a message in the place of a demo that cannot start.
export function fail(root, name, error) {
  const text = `“${name}” cannot start: ${error.message}.`;
  root.replaceChildren(make("p", { class: "wm-failure", role: "alert" }, text));
}

// Build a demo in `el`; what goes wrong there becomes a message on the page. Plain keys stay inside:
// in JupyterLab, A would insert a cell and X cut one.
export function mount(el, name, build) {
  const root = make("div", {
    class: "wm-demo",
    role: "group",
    "aria-label": name,
    onkeydown: (event) => event.ctrlKey || event.metaKey || event.altKey || event.stopPropagation(),
  });
  el.append(root);
  try {
    return build(root);
  } catch (error) {
    fail(root, name, error);
    return undefined;
  }
}
