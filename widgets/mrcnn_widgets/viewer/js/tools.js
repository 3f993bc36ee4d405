// @ts-check
// The buttons that zoom.

import { make } from "./dom.js";
import { times } from "./text.js";

const ROOM = { width: 260, height: 140 }; // a smaller photo would be covered; CSS pixels

export class Tools {
  /**
   * @param {HTMLElement} parent
   * @param {{ zoomBy: (factor: number) => void, reset: () => void }} acts
   */
  constructor(parent, { zoomBy, reset }) {
    this.element = make("div", "mrv-tools", parent, { role: "group", "aria-label": "Zoom" });
    this.button("", "−", "Zoom out", () => zoomBy(1 / 1.5));
    this.fit = this.button("mrv-fit", "1×", "Show the whole photo", reset);
    this.button("", "+", "Zoom in", () => zoomBy(1.5));
  }

  /** @param {string} name @param {string} text @param {string} label @param {() => void} act @returns {HTMLElement} */
  button(name, text, label, act) {
    const attributes = { type: "button", "aria-label": label, title: label };
    const button = make("button", name, this.element, attributes);
    button.textContent = text;
    button.addEventListener("click", act);
    return button;
  }

  /** @param {number} k */
  show(k) {
    this.fit.textContent = times(k);
  }

  /** Takes up no room of a small photo. @param {import("./view.js").Size} stage */
  keepOff({ width, height }) {
    this.element.hidden = width < ROOM.width || height < ROOM.height;
  }

  /** Whether an event happened on a button. @param {Event} event */
  own(event) {
    return this.element.contains(/** @type {Node} */ (event.target));
  }
}
