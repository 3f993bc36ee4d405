// @ts-check
// The line below the photo, which screen readers read out.

import { make } from "./dom.js";

const PAUSE_MS = 60; // screen readers would stutter if each step of the pointer were announced

export class Status {
  /** @param {HTMLElement} parent */
  constructor(parent) {
    this.element = make("div", "mrv-status", parent, { role: "status", "aria-live": "polite" });
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
  }

  /** @param {string} text */
  say(text) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (this.element.textContent !== text) this.element.textContent = text;
    }, PAUSE_MS);
  }

  end() {
    clearTimeout(this.timer);
  }
}
