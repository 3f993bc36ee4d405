// @ts-check
// The card beside the pointer: what there is to say about the row under it.

import { make, swatch } from "./dom.js";
import { colorOf } from "./layers.js";
import { linesOf } from "./text.js";

export class Card {
  /** @param {HTMLElement} stage */
  constructor(stage) {
    this.element = make("div", "mrv-card", stage, { "aria-hidden": "true", hidden: "" });
  }

  hide() {
    this.element.hidden = true;
  }

  /**
   * @param {import("./picking.js").Pick} pick
   * @param {string} foot what else there is here
   */
  show(pick, foot) {
    const { layer, row } = pick;
    const { dash } = layer.groups[layer.groupOf[row]];
    this.element.hidden = false;
    this.element.replaceChildren();
    const head = make("div", "mrv-card-head", this.element);
    head.append(swatch(colorOf(layer, row), dash));
    make("span", "", head).textContent = `${layer.name} #${row}`;
    const list = make("div", "mrv-lines", this.element);
    for (const text of linesOf(pick).flat()) make("span", "", list).textContent = text;
    make("div", "mrv-card-foot", this.element).textContent = foot;
  }

  /**
   * Puts the card beside a point of the stage, where there is room.
   * @param {import("./view.js").Point} point CSS pixels
   * @param {{ width: number, height: number }} stage
   */
  place([x, y], { width, height }) {
    if (this.element.hidden) return;
    const { offsetWidth: w, offsetHeight: h } = this.element;
    const left = x + 16 + w <= width ? x + 16 : Math.max(0, x - 16 - w);
    const top = y + 16 + h <= height ? y + 16 : Math.max(0, Math.min(y - 16 - h, height - h));
    this.element.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }
}
