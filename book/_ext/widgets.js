// Draws the demos of a page that has no kernel: anywidgets, from the state that stands in the page.
//
// Jupyter's own html-manager does this for every widget there is, and weighs 3.7 MB with what it
// needs. A demo asks for less: its module (`_esm`), its style (`_css`), and a model that remembers.
(() => {
  const mime = (what) => `script[type="application/vnd.jupyter.widget-${what}+json"]`;

  // What a demo sees of its model. What it saves goes nowhere: no Python listens.
  class Model {
    constructor({ state, buffers = [] }) {
      this.values = { ...state };
      this.listeners = new Map();
      for (const { path, data } of buffers) {
        const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
        this.values[path[0]] = new DataView(bytes.buffer);
      }
    }

    get(name) {
      return this.values[name];
    }

    set(name, value) {
      if (Object.is(this.values[name], value)) return;
      this.values[name] = value;
      for (const call of this.listeners.get(`change:${name}`) ?? []) call();
    }

    on(name, call) {
      this.listeners.set(name, [...(this.listeners.get(name) ?? []), call]);
    }

    off(name, call) {
      this.listeners.set(name, (this.listeners.get(name) ?? []).filter((one) => one !== call));
    }

    save_changes() {}
  }

  async function draw(view, model) {
    const place = document.createElement("div");
    const style = document.createElement("style");
    style.textContent = model.get("_css") ?? "";
    const text = new Blob([model.get("_esm")], { type: "text/javascript" });
    const { default: widget } = await import(URL.createObjectURL(text));
    view.after(place);
    place.before(style);
    await widget.render({ model, el: place });
    view.parentElement.querySelector(".wm-still")?.remove();
  }

  addEventListener("DOMContentLoaded", () => {
    const states = Object.assign(
      {}, ...[...document.querySelectorAll(mime("state"))].map((one) => JSON.parse(one.text).state));
    const models = new Map();
    for (const view of document.querySelectorAll(mime("view"))) {
      const id = JSON.parse(view.text).model_id;
      if (!models.has(id)) models.set(id, new Model(states[id]));
      draw(view, models.get(id));
    }
  });
})();
