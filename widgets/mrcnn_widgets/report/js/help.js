// @ts-check
// The list of keys, behind `?`.

import { make } from "../../viewer/js/dom.js";

const KEYS = [
  ["1 … 7", "stages"],
  ["← →", "steps of a stage; cases of a data set"],
  ["/", "search"],
  ["Esc", "let go, then up"],
  ["?", "this list"],
  ["Tab, Enter", "go through links, boxes under the pointer; pick"],
  ["+ − 0, arrows", "zoom and move in the photo, once it has the focus"],
];

export class Help {
  constructor() {
    this.dialog = make("dialog", "help", document.body, { "aria-labelledby": "help-title" });
    make("h2", "", this.dialog, { id: "help-title" }).textContent = "Keys";
    const list = make("dl", "", this.dialog);
    for (const [key, what] of KEYS) {
      make("dt", "", list).textContent = key;
      make("dd", "", list).textContent = what;
    }
    const form = make("form", "", this.dialog, { method: "dialog" });
    make("button", "", form).textContent = "Close";
  }

  /** @param {string} key @returns {boolean} whether it meant something */
  key(key) {
    if (this.dialog.open) {
      if (key === "?" || key === "Escape") this.dialog.close();
      return true;
    }
    if (key === "?") this.dialog.showModal();
    return key === "?";
  }
}
