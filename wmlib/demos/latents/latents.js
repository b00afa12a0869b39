// The numbers of a code, one slider each, and the picture that V paints of them.

import "../page/page.css";
import { Decoder, unpack } from "../page/engine.js";
import { button, latentPanel, make, mount, screen } from "../page/page.js";

function build(root, model) {
  const { header, arrays } = unpack(model.get("weights"));
  const decoder = new Decoder(arrays, header.vision);
  const { latent } = header.vision;
  const examples = arrays.codes.shape[0];
  const z = Float32Array.from(model.get("code"));
  let example = -1;

  const { canvas, paint } = screen(decoder.side, "The picture that V paints of this code");
  const status = make("p", { class: "wm-status", role: "status" });
  const panel = latentPanel(latent, (i, value) => {
    z[i] = value;
    paint(decoder.decode(z));
    keep();
  }, arrays["latents.order"].values);
  const set = (code, text) => {
    z.set(code);
    panel.show(z);
    paint(decoder.decode(z));
    status.textContent = text;
    keep();
  };
  const keep = () => {
    model.set("code", Array.from(z));
    model.save_changes();
  };
  const next = button("Next real picture", () => {
    example = (example + 1) % examples;
    const code = arrays.codes.values.subarray(example * latent, (example + 1) * latent);
    set(code, `The code of real picture ${example + 1} of ${examples}.`);
  });
  const zero = button("All at 0", () => set(new Float32Array(latent), "All numbers at 0."));

  root.append(
    make("div", { class: "wm-board" },
      make("div", {},
        make("div", { class: "wm-screen" }, canvas),
        make("div", { class: "wm-row" }, ...(examples ? [next] : []), zero),
        status),
      make("div", {},
        make("p", { class: "wm-note" },
          "Sorted: the number that moves the picture most, from −2 to 2, comes first."),
        panel.element)));
  set(z, "");

  const fromPython = () => {
    const code = model.get("code");
    if (code.some((value, i) => Math.fround(value) !== z[i])) set(code, "A code from Python.");
  };
  model.on("change:code", fromPython);
  return () => model.off("change:code", fromPython);
}

export default {
  render: ({ model, el }) => mount(el, "The numbers of z", (root) => build(root, model)),
};
