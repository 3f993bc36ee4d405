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

const SEARCH = [
  ["is:missed", "or found; of a detection wrong, right"],
  ["cause:nms", "where an object was lost, and stage:detection"],
  ["kind:background", "of a wrong detection, or of the loss"],
  ["class:person", "a bare word is looked for within names"],
  ["score:>0.3", "also <, <=, >= or the number alone"],
  ["-class:cup", "a minus turns a token around"],
  ['class:"traffic light"', "quotes around what has blanks; the same key twice: either"],
];

export const SEARCH_CASES = [
  ["photo:cat.jpg", "all cases of a photo; traced:yes, of photos with stages"],
  ["past:nms", "objects still alive behind a gate"],
  ["detected:yes", "what has a detection, right or wrong"],
  ["size:<32", "root of the mask's area in the photo; side, of the box in the network's input"],
  ["aspect:>2", "height / width; shape:1:2, its nearest"],
  ["crowding:>=3", "others of its class on it; border:yes, at the photo's edge; level:P4"],
  ["suspected:yes", "detections that speak against the annotations"],
];

export class Help {
  /** @param {string[][]} [more] tokens of the search */
  constructor(more = []) {
    this.dialog = make("dialog", "help", document.body, { "aria-labelledby": "help-title" });
    this.list("Keys", KEYS).id = "help-title";
    this.list("Search", [...SEARCH, ...more]);
    const form = make("form", "", this.dialog, { method: "dialog" });
    make("button", "", form).textContent = "Close";
  }

  /** @param {string} title @param {string[][]} lines */
  list(title, lines) {
    const heading = make("h2", "", this.dialog);
    heading.textContent = title;
    const list = make("dl", "", this.dialog);
    for (const [key, what] of lines) {
      make("dt", "", list).textContent = key;
      make("dd", "", list).textContent = what;
    }
    return heading;
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
