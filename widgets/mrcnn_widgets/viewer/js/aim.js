// @ts-check
// What the user points at, with the pointer or with the crosshair of somebody without one.

import { candidatesAt, same } from "./picking.js";

/**
 * @typedef {import("./picking.js").Candidate} Candidate
 * @typedef {import("./view.js").Point} Point
 */

export class Aim {
  /**
   * @param {import("./view.js").View} view
   * @param {{ hovered: () => void, moved: () => void, keyed: () => void }} tell
   *   of another row that is hovered, of a move on the same row, of a move by key
   */
  constructor(view, tell) {
    this.view = view;
    this.tell = tell;
    /** @type {import("./layers.js").Layer[]} */
    this.layers = [];
    /** @type {Point | null} */
    this.pointer = null; // CSS pixels of the stage
    this.crosshair = false; // in the middle of the view
    /** @type {Candidate[]} */
    this.candidates = [];
    this.index = -1;
  }

  /** The row that is pointed at. @returns {Candidate | null} */
  get candidate() {
    return this.candidates[this.index] ?? null;
  }

  /** Where the user points, CSS pixels of the stage. */
  get place() {
    return this.crosshair ? this.view.middle : this.pointer;
  }

  /** Everything under a point of the stage. @param {Point} point */
  at(point) {
    const pixel = this.view.dpr / this.view.transform().s;
    return candidatesAt(this.layers, this.view.toPhoto(point), pixel);
  }

  /** Looks up what is there now. */
  probe() {
    const before = this.candidate;
    this.candidates = this.place ? this.at(this.place) : [];
    // A keyboard user asks for the first candidate with Tab; a pointer shows it at once.
    this.index = this.crosshair || !this.candidates.length ? -1 : 0;
    if (same(before, this.candidate)) this.tell.moved();
    else this.tell.hovered();
  }

  /** Other layers are there: what was found in those before is void. @param {import("./layers.js").Layer[]} layers */
  replace(layers) {
    this.layers = layers;
    this.candidates = [];
    this.index = -1;
  }

  letGo() {
    this.candidates = [];
    this.index = -1;
    this.tell.hovered();
  }

  dropCrosshair() {
    if (!this.crosshair) return;
    this.crosshair = false;
    this.letGo();
    this.tell.keyed();
  }

  /** After a move by key: without a pointer on the photo, the middle of the view points. */
  follow() {
    if (!this.pointer) this.crosshair = true;
    this.probe();
    this.tell.keyed();
  }

  /**
   * Goes to the next candidate, or to the one before.
   * @param {1 | -1} direction
   * @returns {boolean} false behind the last: Tab then leaves the viewer as everywhere else
   */
  cycle(direction) {
    if (!this.pointer && !this.crosshair && direction > 0) {
      this.crosshair = true;
      this.probe();
    }
    const next = this.index + direction;
    if (next < 0 || next >= this.candidates.length) return false;
    this.index = next;
    this.tell.hovered();
    this.tell.keyed();
    return true;
  }
}
