// @ts-check
// What to do so that the wheel zooms, said to whom it scrolls the page.

import { make } from "./dom.js";

const SHOWN_MS = 1500;

export class Hint {
  /** @param {HTMLElement} stage */
  constructor(stage) {
    this.element = make("div", "mrv-hint", stage, { "aria-hidden": "true", hidden: "" });
    this.element.textContent = "Ctrl + wheel zooms, or the wheel alone after a click";
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
  }

  /** Above the pointer: both ends of the photo may be off the screen. @param {number} y */
  show(y) {
    clearTimeout(this.timer);
    this.element.hidden = false;
    this.element.style.top = `${Math.max(4, y - 40)}px`;
    this.timer = setTimeout(() => (this.element.hidden = true), SHOWN_MS);
  }

  end() {
    clearTimeout(this.timer);
  }
}
