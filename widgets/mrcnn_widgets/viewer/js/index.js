// @ts-check
// The viewer: a photo with boxes, masks, arrows, cells and points to zoom into, hover and pick.
//
// Two homes: `render` for a Jupyter front end (anywidget), `mount` for a plain page, which brings
// `viewer.css` along. It knows nothing of what the layers mean.

import { PlainModel } from "./model.js";
import { Viewer } from "./viewer.js";

export default {
  /** @param {{ model: import("./model.js").Model, el: HTMLElement }} home */
  render({ model, el }) {
    const viewer = new Viewer(el, model);
    // Keys that mean something here must not also mean something to the notebook.
    for (const name of ["keydown", "keypress", "keyup"]) {
      el.addEventListener(name, (event) => event.stopPropagation(), { signal: viewer.gone.signal });
    }
    // As ipywidgets does with its own views, once their kernel was restarted; see twin.py.
    const leave = () => el.classList.add("jupyter-widgets-disconnected");
    model.on("comm_live_update", leave);
    return () => {
      model.off("comm_live_update", leave);
      viewer.destroy();
    };
  },
};

/**
 * Shows an exported scene in a plain page, without Jupyter; the result's `destroy()` removes it.
 * @param {HTMLElement} element
 * @param {Record<string, any>} state what `wire.export` gave
 */
export function mount(element, state) {
  return new Viewer(element, new PlainModel(state));
}
